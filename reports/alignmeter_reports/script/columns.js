// Columns: which ones a table shows. All of them without a script; with it those that are ticked.
function choosable(table, number) {
  const first = new Map();
  for (const head of table.querySelectorAll("thead th[data-key]")) {
    if (!first.has(head.dataset.key)) first.set(head.dataset.key, head);
  }
  const names = new Map(Array.from(first, ([key, head]) => [key, head.textContent.trim()]));
  const groups = groupsOf(table);
  const ticks = Array.from(first, function ([key, head]) {
    const tick = made("input", { type: "checkbox", value: key });
    tick.checked = !("more" in head.dataset);
    return tick;
  });
  const summary = made("summary", {});
  const labels = ticks.map((tick) => made("label", {}, tick, " " + names.get(tick.value)));
  const chooser = made("details", { class: "chooser" }, summary, ...labels);
  const left = made("p", { class: "left-out" });
  const style = made("style", {});

  function show() {
    const hidden = ticks.filter((tick) => !tick.checked).map((tick) => tick.value);
    const rules = hidden.map((key) => "[data-choose='" + number + "'] .c-" + key + " { display: none; }");
    style.textContent = rules.join("\n");
    for (const [group, keys] of groups) {
      group.colSpan = Math.max(1, keys.filter((key) => !hidden.includes(key)).length);
    }
    summary.textContent = "Columns: " + (ticks.length - hidden.length) + " of " + ticks.length;
    const out = hidden.map((key) => names.get(key)).join(", ");
    left.textContent = out ? "Columns left to the CSV: " + out + "." : "";
  }

  table.dataset.choose = number;
  chooser.addEventListener("change", show);
  document.head.append(style);
  table.parentNode.before(chooser);
  table.parentNode.after(left);
  show();
}

// Heads over groups of columns -> the keys of the columns below each.
function groupsOf(table) {
  const keys = Array.from(table.querySelectorAll("thead th[data-key]"), (head) => head.dataset.key);
  return new Map(
    Array.from(table.querySelectorAll("thead th[scope=colgroup]"), function (group) {
      return [group, keys.splice(0, group.colSpan)];
    }),
  );
}
