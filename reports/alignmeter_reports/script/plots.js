// Plots: small pictures of one cell, drawn without a library. A table or a sentence says the same.
const WIDE = 420;
const HIGH = 150;
const LEFT = 64;
const BELOW = 22;
const MARKS = ["circle", "rect", "path"];

// Series of points on one pair of axes; each axis is labelled at its ends.
function plot(title, series, text, { joined, x }) {
  const points = series.flatMap((one) => one.points);
  const xs = points.map((point) => point[0]);
  const ys = points.map((point) => point[1]);
  const [left, right, top] = [Math.min(...xs), Math.max(...xs), Math.max(...ys)];
  const bottom = joined ? 0 : Math.min(...ys) - 0.1 * (top - Math.min(...ys));
  const across = (value) => LEFT + ((value - left) / (right - left || 1)) * (WIDE - LEFT - 10);
  const up = (value) => 8 + ((top - value) / (top - bottom || 1)) * (HIGH - BELOW - 14);
  const svg = drawn("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": title, class: "plot" });
  svg.append(
    drawn("path", { d: `M${LEFT} 4V${HIGH - BELOW}H${WIDE - 6}`, class: "frame" }),
    drawn("text", { x: LEFT - 6, y: 16, "text-anchor": "end" }, text(top)),
    drawn("text", { x: LEFT - 6, y: HIGH - BELOW, "text-anchor": "end" }, text(bottom)),
    drawn("text", { x: LEFT, y: HIGH - 6 }, x(left)),
    drawn("text", { x: WIDE - 6, y: HIGH - 6, "text-anchor": "end" }, x(right)),
  );
  series.forEach(function (one, i) {
    if (joined) {
      const line = one.points.map((point, k) => (k ? "L" : "M") + across(point[0]).toFixed(1) + " " + up(point[1]).toFixed(1));
      svg.append(drawn("path", { d: line.join(""), class: "line" }));
    } else for (const point of one.points) svg.append(mark(MARKS[i % MARKS.length], across(point[0]), up(point[1])));
  });
  return svg;
}

function mark(kind, x, y) {
  const shapes = {
    circle: { cx: x, cy: y, r: 3 },
    rect: { x: x - 3, y: y - 3, width: 6, height: 6 },
    path: { d: `M${x - 4} ${y + 3}L${x} ${y - 4}L${x + 4} ${y + 3}Z` },
  };
  return drawn(kind, { class: "mark", ...shapes[kind] });
}

function shareText(share) {
  return share < 0.001 ? "< 0.1 %" : (100 * share).toFixed(1) + " %";
}

// A table of parts with a bar each, the largest first.
function bars(caption, parts, text) {
  const listed = Object.entries(parts).filter((part) => part[1] > 0).sort((a, b) => b[1] - a[1]);
  const whole = listed.reduce((sum, part) => sum + part[1], 0);
  const rows = listed.map(function ([name, value]) {
    const bar = made("span", { class: "bar" });
    bar.style.width = Math.max(1, (100 * value) / listed[0][1]) + "%";
    return made("tr", {}, made("th", { scope: "row" }, name.replace(/_/g, " ")), made("td", { class: "n" }, text(value)), made("td", { class: "n" }, shareText(value / whole)), made("td", { class: "share" }, bar));
  });
  return made("table", { class: "bars" }, made("caption", {}, caption), made("tbody", {}, ...rows));
}
