// Shows the progress of the newest sync. streams/source.js receives the figures.
"use strict";

(() => {
  const { onReport, onLost, now } = window.streamsite;
  const root = document.querySelector("[data-sync]");
  const part = (name) => root.querySelector(`[data-f="${name}"]`);
  const two = (value) => String(value).padStart(2, "0");
  const number = (value) => value.toLocaleString("en-GB");
  let first = null;
  let running = null;

  function lasted() {
    if (!running) return;
    const seconds = Math.max(0, Math.floor((now() - Date.parse(running.started_at)) / 1000));
    part("lasted").textContent = `${Math.floor(seconds / 60)}:${two(seconds % 60)}`;
  }

  onReport(({ sync }) => {
    if (!sync) return;
    root.dataset.status = sync.status;
    part("label").textContent = sync.dry ? `${sync.label} (only shown)` : sync.label;
    part("who").textContent = sync.started_by ? `by ${sync.started_by}` : "";
    for (const name of ["seen", "added", "changed", "absent", "gone", "unchanged", "other_kinds", "left_out", "growing"]) part(name).textContent = number(sync[name]);
    part("fault").textContent = sync.fault;
    part("fault").hidden = !sync.fault;
    running = sync.status === "running" ? sync : null;
    const bar = part("bar");
    bar.hidden = !running;
    if (running && sync.percent !== null) bar.value = sync.percent;
    else bar.removeAttribute("value");
    if (sync.seconds !== null) part("lasted").textContent = `${Math.floor(sync.seconds / 60)}:${two(sync.seconds % 60)}`;
    lasted();
    for (const button of root.querySelectorAll("[data-when=idle]")) button.disabled = Boolean(running);
    for (const button of root.querySelectorAll("[data-when=stopped]")) button.hidden = sync.status !== "stopped";
    // The list below shows the sync as of the page load.
    const current = `${sync.id} ${sync.status}`;
    if (first !== null && first !== current && !running) location.reload();
    first = current;
  });

  onLost((when, sentence) => {
    const banner = document.querySelector("[data-lost]");
    banner.hidden = when === null;
    banner.textContent = when ? sentence : "";
  });
  setInterval(lasted, 1000);
})();
