// Search: rows, bullets and headings of the page that hold all the words.
const MOST_HITS = 30;

function searchable(field) {
  const hits = document.getElementById("hits");
  const found = document.getElementById("found");
  let places = null;
  document.getElementById("searching").hidden = false;
  field.addEventListener("input", function () {
    places = places || searched();
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const holding = words.length === 0 ? [] : places.filter((place) => words.every((word) => place.text.includes(word)));
    hits.replaceChildren(...holding.slice(0, MOST_HITS).map((place) => hit(place, words[0])));
    const more = holding.length > MOST_HITS ? ", the first " + MOST_HITS + " are listed" : "";
    found.textContent = words.length === 0 ? "" : holding.length + (holding.length === 1 ? " place" : " places") + more;
  });
  field.addEventListener("keydown", function (event) {
    if (event.key === "Enter" && hits.firstChild !== null) hits.querySelector("button").click();
  });
}

// What can be found: the smallest things that a reader would point at.
function searched() {
  const places = [];
  for (const section of document.querySelectorAll("main > section")) {
    const heading = section.querySelector("h2").textContent;
    for (const element of section.querySelectorAll("h2, h3, p, li, dt, dd, caption, summary, figcaption, tbody tr")) {
      if (element.closest("[data-live]") !== null) continue;
      const whole = element.textContent.replace(/\s+/g, " ").trim();
      if (whole !== "") places.push({ element, heading, whole, text: whole.toLowerCase() });
    }
  }
  return places;
}

function hit(place, word) {
  const at = Math.max(0, place.text.indexOf(word) - 20);
  const extract = (at > 0 ? "…" : "") + place.whole.slice(at, at + 90);
  const button = made("button", { type: "button" }, made("strong", {}, place.heading), " " + extract);
  button.addEventListener("click", () => shown(place.element));
  return made("li", {}, button);
}
