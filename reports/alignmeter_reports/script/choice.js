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

// Every axis that is neither rows nor columns is held at one value: the one that is said, or else the
// one of the largest set of cells that are alike in all of these axes.
function withOthers(data, choice) {
  const held = data.axes.filter((axis) => axis.name !== choice.rows && axis.name !== choice.columns && axis.values.length > 1);
  const said = held.filter(({ name, values }) => choice.only[name] === ALL || values.includes(choice.only[name]));
  const only = Object.fromEntries(said.map(({ name }) => [name, choice.only[name]]));
  const common = commonest(data, held, chosenRows(data, { only }));
  for (const { name } of held) if (!(name in only)) only[name] = common[name];
  return { ...choice, only };
}

function commonest(data, held, rows) {
  const places = held.map((axis) => data.axes.indexOf(axis));
  const kinds = new Map(rows.map((row) => [places.map((axis) => row.at[axis]).join(), row]));
  let found = null;
  let most = 0;
  for (const row of kinds.values()) {
    const alike = (other) => places.every((axis) => row.at[axis] === null || other.at[axis] === null || other.at[axis] === row.at[axis]);
    const count = rows.filter(alike).length;
    if (count > most) [found, most] = [row, count];
  }
  const value = (axis, place) => axis.values[found === null || found.at[place] === null ? 0 : found.at[place]];
  return Object.fromEntries(held.map((axis, i) => [axis.name, value(axis, places[i])]));
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
