// Shows the progress of the newest sync. streams/source.js receives the figures.
"use strict";

(() => {
  const { onReport, onLost, now } = window.streamsite;
  const { send, notify } = window.api;
  // As in media_library/models/sync.py.
  const LABELS = { running: "Running", done: "Done", stopped: "Stopped by the deletion guard", failed: "Failed" };
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

  onReport(({ items: [sync] }) => {
    if (!sync) return;
    const seconds = sync.ended_at && Math.round((Date.parse(sync.ended_at) - Date.parse(sync.started_at)) / 1000);
    const label = LABELS[sync.status];
    root.dataset.status = sync.status;
    part("label").textContent = sync.dry ? `${label} (only shown)` : label;
    part("who").textContent = sync.started_by ? `by ${sync.started_by}` : "";
    for (const name of ["seen", "added", "changed", "absent", "gone", "unchanged", "other_kinds", "left_out", "growing"]) part(name).textContent = number(sync[name]);
    part("fault").textContent = sync.fault;
    part("fault").hidden = !sync.fault;
    running = sync.status === "running" ? sync : null;
    const bar = part("bar");
    bar.hidden = !running;
    if (running && sync.items_before) bar.value = Math.min(99, (100 * sync.seen) / sync.items_before);
    else bar.removeAttribute("value");
    if (seconds !== null) part("lasted").textContent = `${Math.floor(seconds / 60)}:${two(seconds % 60)}`;
    lasted();
    for (const button of root.querySelectorAll("[data-when=idle]")) button.disabled = Boolean(running);
    for (const button of root.querySelectorAll("[data-when=stopped]")) button.hidden = sync.status !== "stopped";
    // The list below shows the sync as of the page load.
    const current = `${sync.id} ${sync.status}`;
    if (first !== null && first !== current && !running) location.reload();
    first = current;
  });

  // Tests all operations that streamsite needs in the storage.
  root.querySelector("[data-test]")?.addEventListener("click", async ({ target }) => {
    target.disabled = true;
    try {
      const { checks } = await send("POST", "/api/v1/storage/test");
      const table = root.querySelector("[data-checks]");
      table.tBodies[0].replaceChildren(...checks.map(({ check, ok, sentence }) => {
        const line = document.createElement("tr");
        line.dataset.ok = ok ? "yes" : "no";
        for (const text of [check, ok ? "OK" : "Fault", sentence]) line.insertCell().textContent = text;
        return line;
      }));
      table.hidden = false;
    } catch (error) {
      notify("bad", error.sentences);
    } finally {
      target.disabled = false;
    }
  });

  onLost((when, sentence) => {
    const banner = document.querySelector("[data-lost]");
    banner.hidden = when === null;
    banner.textContent = when ? sentence : "";
  });
  setInterval(lasted, 1000);
})();
