// Renews the strips of 24 hours and the outputs' curves, which the server draws.
"use strict";

(() => {
  const INTERVAL_MS = 30_000;
  const root = document.querySelector("[data-strips]");
  if (!root) return;
  const { get } = window.streamsite;
  let timer = 0;

  async function renew() {
    clearTimeout(timer);
    try {
      const answer = await get(root.dataset.strips, { Accept: "text/html" });
      const drawn = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const name of ["strip", "spark"]) {
        for (const place of root.querySelectorAll(`[data-${name}]`)) {
          const next = drawn.querySelector(`[data-${name}="${CSS.escape(place.dataset[name])}"]`);
          place.replaceChildren(...(next ? next.children : []));
        }
      }
      root.classList.remove("sx-old");
    } catch {
      // They show the past as if it reached up to now: grey until the next answer.
      root.classList.add("sx-old");
    } finally {
      if (!document.hidden) timer = setTimeout(renew, INTERVAL_MS);
    }
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden) renew();
  });
  timer = setTimeout(renew, INTERVAL_MS);
})();
