// Panel: everything that the page knows of one cell.
function panel(data, row) {
  const at = data.places[row.place];
  const phaseText = (seconds) => secondsText(seconds) + ("time" in row.bad ? "*" : "");
  return [
    made("h3", { tabindex: "-1" }, row.name),
    made("p", {}, at.device + ". Replicates: " + Object.entries(row.statuses).map(([status, count]) => count + " " + status.replace("_", " ")).join(", ") + ". ", made("a", { href: "#" + row.id }, "Its row in the table"), row.history ? " · " : null, row.history ? made("a", { href: row.history }, "All its nights") : null),
    made("div", { class: "panes" }, figuresPane(data, row), stepsPane(row), partsPane("Phases", "Median time of each phase, mean of the replicates", row.phases, phaseText), partsPane("Ledger", "Bytes at the peak, by owner, of the heaviest replicate", row.ledger, bytesText), ...timelinePanes(row), validityPane(data, row), provenancePane(at)),
    commandLine(row),
  ];
}

function pane(title, ...children) {
  return made("div", { class: "pane" }, made("h4", {}, title), ...children);
}

function listed(pairs) {
  return made("dl", {}, ...pairs.flatMap(([name, value]) => [made("dt", {}, name), made("dd", {}, value)]));
}

function figuresPane(data, row) {
  const pairs = data.values.filter((figure) => row.figures[figure.name]).map(function (figure) {
    const [value, low, high] = row.figures[figure.name];
    const range = low === undefined || low === null ? "" : " (" + figureText(low, figure.unit) + " to " + figureText(high, figure.unit) + ")";
    return [figure.label, figureText(value, figure.unit) + (figure.metric in row.bad ? "*" : "") + range];
  });
  return pane("Figures", pairs.length > 0 ? listed(pairs) : made("p", {}, "None was measured."));
}

function stepsPane(row) {
  const series = row.steps.map((times) => ({ points: times.map((time, i) => [i + 1, time]) }));
  const count = series.reduce((sum, one) => sum + one.points.length, 0);
  if (count === 0) return null;
  const said = count + " timed steps of " + series.length + (series.length === 1 ? " replicate" : " replicates") + ", a mark each";
  return pane("Steps", plot(said, series, secondsText, { joined: false, x: (value) => "step " + value }), made("p", {}, said + "."));
}

function partsPane(title, caption, parts, text) {
  return Object.keys(parts).length === 0 ? null : pane(title, bars(caption, parts, text));
}

function timelinePanes(row) {
  const lines = row.timeline;
  if (lines === null) return [];
  const seconds = (value) => digits(value) + " s";
  const texts = { power: (value) => digits(value) + " W", memory: bytesText };
  return Object.keys(texts).filter((name) => name in lines).map(function (name) {
    const points = lines.t.map((t, i) => [t, lines[name][i]]).filter((point) => point[1] !== null);
    const said = "Timeline of " + name + ", replicate " + lines.replicate;
    return pane(said, plot(said, [{ points }], texts[name], { joined: true, x: seconds }));
  });
}

function validityPane(data, row) {
  const items = Object.entries({ ...row.failed, ...row.bad }).flatMap(([about, reasons]) => reasons.map((index) => reasonItem(about, data.reasons[index])));
  return pane("Validity", items.length > 0 ? made("ul", {}, ...items) : made("p", {}, "Every metric of every replicate is valid."));
}

function reasonItem(about, [code, text]) {
  const known = document.getElementById("why-" + code) !== null;
  return made("li", {}, about + ": ", known ? made("a", { href: "#why-" + code }, code) : code, ": " + text);
}

function provenancePane(at) {
  return pane("Provenance", listed(Object.entries(at).filter(([, value]) => value)));
}

function commandLine(row) {
  if (!row.command) return made("p", {}, "No command repeats it: an axis holds text that no command takes.");
  const button = made("button", { type: "button", class: "copy", "data-copy": row.command }, "copy");
  copyable(button);
  return made("p", {}, "Repeat it: ", made("code", {}, row.command), " ", button);
}
