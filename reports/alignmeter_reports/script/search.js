// Search: rows, bullets and headings of the page that hold all the words, by section.
const MOST_HITS = 3;
const EXTRACT = 90;

function searchable(field) {
  const hits = document.getElementById("hits");
  const found = document.getElementById("found");
  let places = null;
  document.getElementById("searching").hidden = false;
  field.addEventListener("input", function () {
    places = places || searched();
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const holding = places.filter((place) => words.every((word) => place.text.includes(word)));
    const sections = words.length === 0 ? new Map() : bySection(holding);
    hits.replaceChildren(...Array.from(sections, ([heading, mine]) => hitsOf(heading, mine, words[0])));
    found.textContent = words.length === 0 ? "" : holding.length + (holding.length === 1 ? " place" : " places");
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
      const parts = element.cells ? Array.from(element.cells) : [element];
      const whole = parts.map((part) => part.textContent.replace(/\s+/g, " ").trim()).join(" · ");
      if (whole !== "") places.push({ element, heading, whole, text: whole.toLowerCase() });
    }
  }
  return places;
}

function bySection(places) {
  const sections = new Map();
  for (const place of places) sections.set(place.heading, [...(sections.get(place.heading) || []), place]);
  return sections;
}

function hitsOf(heading, places, word) {
  const more = places.length - MOST_HITS;
  const listed = places.slice(0, MOST_HITS).map((place) => made("li", {}, hit(place, word)));
  if (more > 0) listed.push(made("li", {}, "and " + more + " more"));
  return made("li", {}, made("strong", {}, heading), made("ol", {}, ...listed));
}

function hit(place, word) {
  const at = Math.max(0, place.text.indexOf(word) - 20);
  const rest = place.whole.length > at + EXTRACT ? "…" : "";
  const extract = (at > 0 ? "…" : "") + place.whole.slice(at, at + EXTRACT) + rest;
  const button = made("button", { type: "button" }, extract);
  button.addEventListener("click", () => shown(place.element));
  return button;
}
