// Tables: sorting by a column's head, and rows that hold given words.
function sortable(table) {
  const body = table.tBodies[0];
  Array.from(table.tHead.rows[0].cells).forEach(function (head, column) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", function () {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      body.append(...sorted(Array.from(body.rows), column, up ? 1 : -1));
    });
  });
}

// Numbers by value, words by alphabet; what is missing comes last in either direction.
function sorted(rows, column, sign) {
  const keyed = rows.map(function (row) {
    const cell = row.cells[column];
    const text = cell.textContent.trim();
    const value = "value" in cell.dataset ? Number(cell.dataset.value) : NaN;
    const missing = cell.classList.contains("n") ? Number.isNaN(value) : text === "";
    return { row, text, value, missing };
  });
  keyed.sort(function (a, b) {
    if (a.missing || b.missing) return a.missing - b.missing;
    if (!Number.isNaN(a.value) && !Number.isNaN(b.value)) return sign * (a.value - b.value);
    return sign * a.text.localeCompare(b.text, "en", { numeric: true });
  });
  return keyed.map((entry) => entry.row);
}

function filterable(table) {
  const rows = Array.from(table.tBodies[0].rows);
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const field = document.getElementById("filter");
  const shown = document.getElementById("shown");
  document.getElementById("filtering").hidden = false;
  function narrow() {
    const words = field.value.toLowerCase().split(/\s+/);
    let count = 0;
    rows.forEach(function (row, i) {
      row.hidden = !words.every((word) => texts[i].includes(word));
      count += !row.hidden;
    });
    shown.textContent = count + " of " + rows.length + " rows";
  }
  field.addEventListener("input", narrow);
  // A link to a row shows it, whatever is filtered.
  window.addEventListener("hashchange", function () {
    const row = document.getElementById(location.hash.slice(1));
    if (row !== null && row.hidden) {
      field.value = "";
      narrow();
      row.scrollIntoView();
    }
  });
  narrow();
}
