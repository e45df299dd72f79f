// Navigation: the sections stand open beside a wide page and folded above a narrow one.
function navigable(menu) {
  const wide = window.matchMedia("(min-width: 75rem)");
  const follow = () => (menu.open = wide.matches);
  follow();
  wide.addEventListener("change", follow);
  menu.addEventListener("click", function (event) {
    if (event.target.closest("a") !== null && !wide.matches) menu.open = false;
  });
  marked(menu);
}

// The section that is being read is the current one of the list.
function marked(menu) {
  const links = new Map();
  for (const link of menu.querySelectorAll("a[href^='#']")) links.set(link.hash.slice(1), link);
  const seen = new IntersectionObserver(
    function (entries) {
      for (const entry of entries) {
        const link = links.get(entry.target.getAttribute("aria-labelledby"));
        if (link === undefined || !entry.isIntersecting) continue;
        for (const other of links.values()) other.removeAttribute("aria-current");
        link.setAttribute("aria-current", "true");
      }
    },
    { rootMargin: "-10% 0px -80% 0px" },
  );
  document.querySelectorAll("main > section").forEach((section) => seen.observe(section));
}

// Brings an element into view, out of whatever is folded or filtered.
function shown(element) {
  for (let fold = element.closest("details"); fold !== null; fold = fold.parentElement.closest("details")) {
    fold.open = true;
  }
  const filter = document.getElementById("filter");
  if (element.hidden && filter !== null) {
    filter.value = "";
    filter.dispatchEvent(new Event("input"));
  }
  element.tabIndex = -1;
  element.focus({ preventScroll: true });
  element.scrollIntoView({ block: "center" });
}
