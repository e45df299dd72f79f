// Units: figures with three digits, as the tables write them.
function digits(value) {
  const text = Number(value).toPrecision(3);
  return Math.abs(value) >= 999.5 ? String(Math.round(value)) : String(Number(text));
}

function secondsText(value) {
  return Math.abs(value) < 1 ? digits(value * 1e3) + " ms" : digits(value) + " s";
}

function bytesText(value) {
  for (const [unit, name] of [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]]) {
    if (Math.abs(value) >= unit) return digits(value / unit) + " " + name;
  }
  return digits(value) + " B";
}

function joulesText(value) {
  if (Math.abs(value) >= 1000) return digits(value / 1e3) + " kJ";
  return Math.abs(value) >= 1 ? digits(value) + " J" : digits(value * 1e3) + " mJ";
}

// A figure in the unit that its column names.
function figureText(value, unit) {
  const texts = { s: secondsText, bytes: bytesText, J: joulesText };
  if (unit in texts) return texts[unit](value);
  return digits(value) + (unit ? " " + unit : "");
}
