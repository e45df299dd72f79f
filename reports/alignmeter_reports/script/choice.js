// Choice: which axes and which figure are looked at, and the same as the hash of a link.
const ALL = "*";

// The values of an axis in the order of the records; one that means nothing to a cell fits all.
function fits(data, row, axis, value) {
  const at = row.at[axis];
  return value === ALL || at === null || data.axes[axis].values[at] === value;
}

function named(data, name) {
  return data.axes.findIndex((axis) => axis.name === name);
}

function usualChoice(data) {
  const several = (name) => named(data, name) >= 0 && data.axes[named(data, name)].values.length > 1;
  const columns = ["device", "architecture", "peft"].find(several) || "peft";
  const choice = { rows: "method", columns, value: data.values[0].name, cell: "", only: {} };
  return withOthers(data, choice);
}

// Every axis that is neither rows nor columns is held at one value, the first unless another is named.
function withOthers(data, choice) {
  const only = {};
  data.axes.forEach(function (axis) {
    if (axis.name === choice.rows || axis.name === choice.columns || axis.values.length < 2) return;
    const said = choice.only[axis.name];
    only[axis.name] = said === ALL || axis.values.includes(said) ? said : axis.usual;
  });
  return { ...choice, only };
}

// What the hash says; whatever it does not say, or says wrongly, is as usual.
function readChoice(data, hash) {
  const usual = usualChoice(data);
  if (!/^#explore(&|$)/.test(hash)) return null;
  const said = new URLSearchParams(hash.slice("#explore".length));
  const axis = (name, other) => (named(data, said.get(name)) >= 0 ? said.get(name) : other);
  const rows = axis("rows", usual.rows);
  let columns = axis("columns", usual.columns);
  if (columns === rows) columns = data.axes.find((other) => other.name !== rows).name;
  const value = data.values.some((figure) => figure.name === said.get("value")) ? said.get("value") : usual.value;
  const cell = data.rows.some((row) => row.id === said.get("cell")) ? said.get("cell") : "";
  const only = {};
  for (const { name } of data.axes) if (said.has("is-" + name)) only[name] = said.get("is-" + name);
  return withOthers(data, { rows, columns, value, cell, only });
}

function choiceHash(choice) {
  const said = new URLSearchParams({ rows: choice.rows, columns: choice.columns, value: choice.value });
  for (const [name, value] of Object.entries(choice.only)) said.set("is-" + name, value);
  if (choice.cell) said.set("cell", choice.cell);
  return "#explore&" + said;
}

function chosenRows(data, choice) {
  const held = Object.entries(choice.only).map(([name, value]) => [named(data, name), value]);
  return data.rows.filter((row) => held.every(([axis, value]) => fits(data, row, axis, value)));
}
