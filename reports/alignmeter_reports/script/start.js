// Start: what each part of the page is given to.
const cells = document.getElementById("cells");
if (cells !== null) {
  sortable(cells);
  filterable(cells);
}
document.querySelectorAll("table[data-choose]").forEach(choosable);
document.querySelectorAll("button.copy").forEach(copyable);
navigable(document.getElementById("menu"));
searchable(document.getElementById("search"));
const exploring = document.getElementById("exploring");
if (exploring !== null) explorable(exploring);
