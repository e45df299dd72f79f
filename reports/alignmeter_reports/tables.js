// Which columns a table shows. All of them without this script; with it those that are ticked.
(function () {
  function choosable(table) {
    const heads = Array.from(table.querySelectorAll("thead th[data-key]"));
    const first = new Map();
    for (const head of heads) if (!first.has(head.dataset.key)) first.set(head.dataset.key, head);
    const groups = table.querySelectorAll("thead th[scope=colgroup]");
    const box = document.createElement("details");
    const summary = document.createElement("summary");
    const left = document.createElement("p");
    const style = document.createElement("style");
    box.className = "chooser";
    left.className = "left-out";
    box.append(summary);
    const boxes = Array.from(first, function ([key, head]) {
      const label = document.createElement("label");
      const tick = document.createElement("input");
      tick.type = "checkbox";
      tick.checked = !("more" in head.dataset);
      tick.value = key;
      label.append(tick, " " + head.textContent.trim());
      box.append(label);
      return tick;
    });

    function show() {
      const hidden = boxes.filter((tick) => !tick.checked);
      const names = hidden.map((tick) => first.get(tick.value).textContent.trim());
      style.textContent = hidden.map((tick) => mark + " .c-" + tick.value + "{display:none}").join("");
      for (const group of groups) group.colSpan = Math.max(1, boxes.length - hidden.length);
      summary.textContent = "Columns: " + (boxes.length - hidden.length) + " of " + boxes.length;
      left.textContent = names.length ? "Columns left to the CSV: " + names.join(", ") + "." : "";
    }

    const mark = "[data-choose='" + ++count + "']";
    table.dataset.choose = count;
    box.addEventListener("change", show);
    document.head.append(style);
    table.parentNode.before(box);
    table.parentNode.after(left);
    show();
  }

  let count = 0;
  document.querySelectorAll("table[data-choose]").forEach(choosable);
})();
