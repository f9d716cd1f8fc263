// The source of live values. Renderers only use `streamsite.onReport` and `streamsite.refresh`, so
// a push source can replace this file.
"use strict";

window.streamsite = (() => {
  const INTERVAL_MS = 1000; // between polls
  const TIMEOUT_MS = 8000; // after which a request is aborted
  const root = document.querySelector("[data-source]");
  const listeners = { report: [], lost: [] };
  let etag = "";
  let skew = 0;
  let timer = 0;
  let polling = false;
  let again = false;
  let lostSince = null;

  // The server's clock: durations do not depend on the operator's own clock.
  const now = () => Date.now() + skew;

  function emit(kind, ...args) {
    for (const listener of listeners[kind]) listener(...args);
  }

  const SENTENCES = { 403: "You no longer have the permission to see this.", 404: "It no longer exists, or this page is outdated: reload it." };

  // Returns the answer or throws an error; 401 means that the login has ended.
  async function get(url, headers = {}) {
    const answer = await fetch(url, {
      headers: { Accept: "application/json", ...headers },
      cache: "no-store",
      credentials: "same-origin",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    // A page's address leads to the login page then.
    if (answer.status === 401 || answer.redirected) throw new Error("You are no longer logged in. Log in again.");
    if (!answer.ok && answer.status !== 304) throw new Error(SENTENCES[answer.status] || `The server answers ${answer.status}.`);
    return answer;
  }

  async function poll() {
    if (polling) {
      again = true;
      return;
    }
    polling = true;
    clearTimeout(timer);
    try {
      const answer = await get(root.dataset.source, etag ? { "If-None-Match": etag } : {});
      const date = Date.parse(answer.headers.get("Date"));
      // The header has whole seconds: ignore small differences.
      if (date && Math.abs(date + 500 - now()) > 1500) skew = date + 500 - Date.now();
      if (answer.status === 200) {
        etag = answer.headers.get("ETag") || "";
        emit("report", await answer.json());
      }
      if (lostSince) {
        lostSince = null;
        emit("lost", null);
      }
    } catch (error) {
      lostSince = lostSince || new Date();
      etag = "";
      const explained = error.name === "Error";
      emit("lost", lostSince, explained ? error.message : "The server doesn't answer.");
    } finally {
      polling = false;
      if (again) {
        again = false;
        poll();
      } else if (!document.hidden) {
        timer = setTimeout(poll, INTERVAL_MS);
      }
    }
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden && root) poll();
  });
  // All deferred scripts have run by then, so every listener is registered.
  document.addEventListener("DOMContentLoaded", () => root && poll());

  // The page's time zone as rendered by the server; undefined if the browser does not know it.
  function validZone(name) {
    try {
      new Intl.DateTimeFormat("en-GB", { timeZone: name });
      return name;
    } catch {
      return undefined;
    }
  }
  const named = document.querySelector("[data-zone]")?.dataset.zone;

  return {
    zone: named && validZone(named),
    get,
    now,
    refresh: poll,
    onReport: (listener) => listeners.report.push(listener),
    onLost: (listener) => listeners.lost.push(listener),
  };
})();
