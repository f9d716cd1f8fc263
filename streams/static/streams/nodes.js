// Keeps the list of nodes current.
"use strict";

(() => {
  const INTERVAL_MS = 5000;

  async function refresh() {
    const shown = document.querySelector("[data-refreshed]");
    try {
      const answer = await fetch(location.pathname, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-refreshed]");
      // None: the login has ended, or the site is being restarted. A focused button stays.
      if (fresh && !shown.contains(document.activeElement)) shown.replaceWith(fresh);
    } catch (error) {
      console.warn(error);
    }
    setTimeout(refresh, INTERVAL_MS);
  }

  setTimeout(refresh, INTERVAL_MS);
})();
