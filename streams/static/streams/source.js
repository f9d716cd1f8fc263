// Where the live figures come from. Renderers only know `streamsite.onReport` and
// `streamsite.refresh`, so a push source can take this file's place.
"use strict";

window.streamsite = (() => {
  const INTERVAL = 1000; // ms between polls
  const PATIENCE = 8000; // ms after which an answer is given up
  const root = document.querySelector("[data-source]");
  const listeners = { report: [], lost: [] };
  let etag = "";
  let skew = 0;
  let timer = 0;
  let asking = false;
  let again = false;
  let lostSince = null;

  // The server's clock: durations are counted on it, whatever the operator's own clock says.
  const now = () => Date.now() + skew;

  function tell(kind, ...args) {
    for (const listener of listeners[kind]) listener(...args);
  }

  // An answer or an exception; a redirect means that the login has ended.
  async function get(url, headers = {}) {
    const answer = await fetch(url, {
      headers: { Accept: "application/json", ...headers },
      cache: "no-store",
      credentials: "same-origin",
      signal: AbortSignal.timeout(PATIENCE),
    });
    if (answer.status === 401) throw new Error("You are no longer logged in: log in again.");
    if (!answer.ok && answer.status !== 304) throw new Error(`The server answers ${answer.status}.`);
    return answer;
  }

  async function ask() {
    if (asking) {
      again = true;
      return;
    }
    asking = true;
    clearTimeout(timer);
    try {
      const answer = await get(root.dataset.source, etag ? { "If-None-Match": etag } : {});
      const date = Date.parse(answer.headers.get("Date"));
      // The header has whole seconds: a small difference is no difference.
      if (date && Math.abs(date + 500 - now()) > 1500) skew = date + 500 - Date.now();
      if (answer.status === 200) {
        etag = answer.headers.get("ETag") || "";
        tell("report", await answer.json());
      }
      if (lostSince) {
        lostSince = null;
        tell("lost", null);
      }
    } catch (error) {
      lostSince = lostSince || new Date();
      etag = "";
      const known = error.name === "Error";
      tell("lost", lostSince, known ? error.message : "The server doesn't answer.");
    } finally {
      asking = false;
      if (again) {
        again = false;
        ask();
      } else if (!document.hidden) {
        timer = setTimeout(ask, INTERVAL);
      }
    }
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden && root) ask();
  });
  // Deferred scripts have all run by then, so every listener is there.
  document.addEventListener("DOMContentLoaded", () => root && ask());

  // The page's own zone, as the server draws it; one that the browser does not know is no reason
  // to show nothing.
  function known(name) {
    try {
      new Intl.DateTimeFormat("en-GB", { timeZone: name });
      return name;
    } catch {
      return undefined;
    }
  }
  const named = document.querySelector("[data-zone]")?.dataset.zone;

  return {
    zone: named && known(named),
    get,
    now,
    refresh: ask,
    onReport: (listener) => listeners.report.push(listener),
    onLost: (listener) => listeners.lost.push(listener),
  };
})();
