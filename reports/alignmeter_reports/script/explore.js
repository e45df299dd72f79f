// Explore: choices above, the pivot below them, and the panel of the cell that was picked.
function explorable(place) {
  const data = JSON.parse(document.getElementById("explore-data").textContent);
  const parts = ["choices", "pivot", "explored", "panel"].map((name) => document.getElementById(name));
  const [form, table, status, detail] = parts;
  let choice = readChoice(data, location.hash) || usualChoice(data);
  let drawnCell = null;
  place.hidden = false;

  function draw() {
    const rows = chosenRows(data, choice);
    form.replaceChildren(...fields(data, choice));
    table.replaceChildren(...pivotTable(data, choice, rows));
    const count = rows.length + " of " + data.rows.length + " cells; ";
    status.textContent = count + (rows.length ? "each figure is one cell, and opens it." : "none has all of these values, so set one of them to all.");
    const row = data.rows.find((one) => one.id === choice.cell);
    detail.hidden = row === undefined;
    if (row !== undefined && drawnCell !== choice.cell) detail.replaceChildren(...panel(data, row));
    drawnCell = choice.cell;
  }

  function change(next) {
    choice = withOthers(data, next);
    history.replaceState(null, "", choiceHash(choice));
    draw();
  }

  form.addEventListener("change", function (event) {
    change(picked(data, choice, event.target));
    document.getElementById(event.target.id).focus();
  });
  table.addEventListener("click", function (event) {
    const button = event.target.closest("button.figure");
    if (button === null) return;
    change({ ...choice, cell: button.dataset.cell });
    detail.querySelector("h3").focus();
  });
  function followHash() {
    const said = readChoice(data, location.hash);
    if (said === null) return;
    choice = said;
    draw();
    (choice.cell ? detail : place).scrollIntoView();
  }
  window.addEventListener("hashchange", followHash);
  draw();
  followHash();
}

// What the choice is after one of the fields has changed. Rows and columns change places.
function picked(data, choice, field) {
  const name = field.name;
  if (name.startsWith("is-")) return { ...choice, only: { ...choice.only, [name.slice(3)]: field.value } };
  const next = { ...choice, [name]: field.value };
  if (name === "rows" && next.rows === next.columns) next.columns = choice.rows;
  if (name === "columns" && next.rows === next.columns) next.rows = choice.columns;
  return next;
}

function fields(data, choice) {
  const axes = data.axes.map((axis) => [axis.name, axis.label]);
  const others = data.axes.filter((axis) => axis.name in choice.only).map(function (axis) {
    const values = [[ALL, "all"], ...axis.values.map((value, at) => [value, (axis.titles || axis.values)[at]])];
    return field("is-" + axis.name, axis.label, values, choice.only[axis.name]);
  });
  return [
    field("rows", "Rows", axes, choice.rows),
    field("columns", "Columns", axes, choice.columns),
    field("value", "Value", data.values.map((figure) => [figure.name, figure.label]), choice.value),
    ...others,
  ];
}

function field(name, label, values, selected) {
  const options = values.map(([value, text]) => made("option", { value, selected: value === selected }, text));
  return made("label", {}, made("span", {}, label), made("select", { id: "choose-" + name, name }, ...options));
}
