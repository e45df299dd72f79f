// Pivot: one axis down, one across, and in each place every cell that is there; nothing is averaged.
const STRONGEST = 36;

function pivotTable(data, choice, rows) {
  const down = named(data, choice.rows);
  const across = named(data, choice.columns);
  const figure = data.values.find((value) => value.name === choice.value);
  const shade = shades(data, rows, figure);
  const columns = present(data, rows, across);
  const head = made("tr", {}, made("th", { scope: "col" }, data.axes[down].label), ...columns.map((value) => made("th", { scope: "col" }, shownValue(data, across, value))));
  const body = present(data, rows, down).map(function (value) {
    const mine = rows.filter((row) => row.at[down] === value);
    const places = columns.map((column) => place(data, choice, figure, shade, mine.filter((row) => row.at[across] === column)));
    return made("tr", {}, made("th", { scope: "row" }, shownValue(data, down, value)), ...places);
  });
  const caption = figure.label + ": " + data.axes[down].label + " by " + data.axes[across].label;
  return [made("caption", {}, caption), made("thead", {}, head), made("tbody", {}, ...body)];
}

function shownValue(data, axis, value) {
  const { titles, values } = data.axes[axis];
  return value === null ? "–" : (titles || values)[value];
}

// With the name of its axis where it says nothing alone: T 1024, deterministic on.
function namedValue(data, axis, value) {
  const text = shownValue(data, axis, value);
  return /^([\d.]+|on|off)$/.test(text) ? data.axes[axis].label + " " + text : text;
}

// The values that the rows have, in the order of the axis; null is of cells that the axis says nothing of.
function present(data, rows, axis) {
  const found = new Set(rows.map((row) => row.at[axis]));
  const values = data.axes[axis].values.map((_, index) => index).filter((index) => found.has(index));
  return found.has(null) ? [...values, null] : values;
}

// Of cells that share a place the axes in which they differ.
function apart(data, rows) {
  return data.axes.map((_, axis) => axis).filter((axis) => new Set(rows.map((row) => row.at[axis])).size > 1);
}

function place(data, choice, figure, shade, rows) {
  const differing = apart(data, rows);
  const buttons = rows.map(function (row) {
    const words = differing.map((axis) => namedValue(data, axis, row.at[axis])).join(", ");
    const text = cellText(row, figure);
    const button = made("button", { type: "button", class: "figure", "data-cell": row.id, "aria-pressed": String(row.id === choice.cell), "aria-label": row.name + ": " + text }, made("span", { class: row.figures[figure.name] ? "" : "s-" + worst(row) }, text), words ? made("small", {}, words) : null);
    if (shade.has(row.id)) button.style.setProperty("--heat", shade.get(row.id) + "%");
    return button;
  });
  return made("td", {}, ...(buttons.length > 0 ? buttons : ["–"]));
}

function cellText(row, figure) {
  const value = row.figures[figure.name];
  if (!value) return worst(row) === "ok" ? "–" : worst(row).replace("_", " ");
  const tensors = figure.name === "peak" && row.tensors ? " of tensors" : "";
  return figureText(value[0], figure.unit) + (figure.metric in row.bad ? "*" : "") + tensors;
}

function worst(row) {
  return Object.keys(row.statuses).find((status) => status !== "ok") || "ok";
}

// Cell -> per cent of the shade, on a logarithmic scale, of valid figures of one kind of memory.
function shades(data, rows, figure) {
  const found = new Map();
  for (const tensors of [false, true]) {
    const mine = rows.filter((row) => row.figures[figure.name] && !(figure.metric in row.bad) && Boolean(row.tensors) === tensors);
    const logs = mine.map((row) => Math.log(row.figures[figure.name][0]));
    const least = Math.min(...logs);
    const most = Math.max(...logs);
    mine.forEach((row, i) => most > least && found.set(row.id, Math.round((STRONGEST * (logs[i] - least)) / (most - least))));
  }
  return found;
}
