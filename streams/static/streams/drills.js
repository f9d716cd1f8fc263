// Keeps the results of a drill current while it runs.
"use strict";

(() => {
  const INTERVAL_MS = 3000;

  async function refresh() {
    const shown = document.querySelector("[data-drills]");
    try {
      const answer = await fetch(location.pathname, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-drills]");
      // None: the login has ended, or the site is being restarted.
      if (fresh) shown.replaceWith(fresh);
    } catch (error) {
      console.warn(error);
    }
    plan();
  }

  function plan() {
    if (document.querySelector("[data-drills='running']")) setTimeout(refresh, INTERVAL_MS);
  }

  plan();
})();
