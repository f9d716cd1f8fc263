// The wall: without a connection every state is unknown, not the last good one.
"use strict";

(() => {
  const { onLost } = window.streamsite;
  const root = document.querySelector("[data-strips]");

  function unknown(element) {
    element.dataset.state = "unknown";
    for (const label of element.querySelectorAll('[data-f="label"]')) label.textContent = "Unknown";
    for (const name of ["bitrate", "now"]) {
      for (const place of element.querySelectorAll(`[data-f="${name}"]`)) place.textContent = "–";
    }
    for (const clock of element.querySelectorAll("[data-since]")) {
      clock.dataset.since = "";
      clock.textContent = "";
    }
    for (const cause of element.querySelectorAll('[data-f="cause"]')) {
      cause.textContent = "";
      cause.hidden = true;
    }
  }

  onLost((when) => {
    if (!when) return;
    root.classList.add("sx-old");
    for (const element of document.querySelectorAll("[data-channel], [data-output]")) unknown(element);
  });

  const full = document.querySelector("[data-wall-full]");
  if (document.fullscreenEnabled) {
    full.hidden = false;
    full.addEventListener("click", () => document.documentElement.requestFullscreen());
  }
})();
