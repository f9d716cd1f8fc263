// Edits a playlist's order by dragging and by buttons; saves it with the version that was read.
"use strict";

(() => {
  const root = document.querySelector("[data-editor]");
  if (!root) return;
  const { request, send } = window.api;
  const { make, about, length } = window.library;
  const list = root.querySelector("[data-order]");
  const total = root.querySelector("[data-total]");
  const warning = root.querySelector("[data-warning]");
  const state = root.querySelector("[data-state]");
  const save = root.querySelector("[data-save-order]");
  const undo = root.querySelector("[data-undo]");
  const may = root.dataset.may === "yes";
  const LONGEST = Number(root.dataset.longest);
  const CHUNK = 200; // rows drawn at once: a long playlist must not block the page
  const rows = new WeakMap(); // row → its entry
  let version = null;
  let saved = []; // the entries as the server has them
  let saving = null; // the running save: resolves to true once the server has the order
  let loading = null;
  let stale = false;

  const entries = () => [...list.children].map((row) => rows.get(row)).filter(Boolean);
  const order = () => entries().map((entry) => ({ id: entry.entry, item_id: entry.item }));
  const same = (a, b) => a.length === b.length && a.every((entry, n) => entry === b[n]);
  const changed = () => !same(entries(), saved);

  function report(text, bad = false) {
    if (!state) return;
    state.textContent = text;
    state.classList.toggle("lib-fault", bad);
  }

  function row(entry) {
    const line = make("li", { className: "lib-row" }, make("span", { className: "lib-place" }), ...about(entry));
    if (may) {
      const tool = (text, label, work) => {
        const button = make("button", { type: "button", onclick: () => work(line) }, text);
        button.setAttribute("aria-label", `${label}: ${entry.title}`);
        return button;
      };
      line.append(make("span", { className: "lib-tools" },
        tool("↑", "Move up", (it) => move(it, -1)), tool("↓", "Move down", (it) => move(it, 1)), tool("×", "Remove", remove)));
    }
    rows.set(line, entry);
    return line;
  }

  function move(line, step) {
    const other = step < 0 ? line.previousElementSibling : line.nextElementSibling;
    if (!other) return;
    const held = document.activeElement;
    if (step < 0) other.before(line);
    else other.after(line);
    held.focus();
    line.scrollIntoView({ block: "nearest" });
    count();
  }
  function remove(line) {
    const beside = line.nextElementSibling || line.previousElementSibling;
    line.remove();
    beside?.querySelector(".lib-tools button:last-child")?.focus();
    count();
  }

  function count() {
    const all = entries();
    const measured = all.filter((entry) => entry.duration_seconds !== null);
    const seconds = measured.reduce((sum, entry) => sum + entry.duration_seconds, 0);
    const unknown = all.length - measured.length;
    total.textContent = `${all.length} item${all.length === 1 ? "" : "s"}, ${length(seconds)}${unknown ? ` and ${unknown} of unknown length` : ""}`;
    const faulty = all.filter((entry) => entry.status === "fault").length;
    warning.hidden = !faulty;
    warning.textContent = faulty ? faulty === 1 ? "1 item has a fault: channels leave it out." : `${faulty} items have a fault: channels leave them out.` : "";
    if (!may || version === null) return;
    const differs = changed();
    save.disabled = !differs || saving || stale;
    undo.disabled = !differs || saving;
    if (stale) return;
    report(saving ? "Saving …" : differs ? "Not saved yet." : "Saved.");
  }

  function draw(all) {
    list.replaceChildren();
    let at = 0;
    return new Promise((resolve) => {
      function chunk() {
        list.append(...all.slice(at, at + CHUNK).map(row));
        at += CHUNK;
        if (at < all.length) setTimeout(chunk);
        else resolve();
      }
      chunk();
    });
  }

  function load() {
    loading = read().finally(() => (loading = null));
    return loading;
  }
  async function read() {
    try {
      const answer = await request(root.dataset.entries);
      saved = answer.entries.map((entry) => ({ ...entry, entry: entry.id, item: entry.item_id }));
      await draw(saved);
      version = answer.version;
      count();
    } catch (error) {
      report(error.message, true);
      total.textContent = error.message;
    }
  }

  function store() {
    saving ??= write();
    return saving;
  }
  async function write() {
    const sent = entries();
    await null; // `saving` has to be set first
    count();
    try {
      const answer = await send("PUT", root.dataset.entries, { version, entries: order() });
      version = answer.version;
      sent.forEach((entry, n) => (entry.entry = answer.entries[n].id));
      saved = sent;
      saving = null;
      count();
      return true;
    } catch (error) {
      saving = null;
      // The screen stays unchanged: the order can be noted, or saved again.
      stale = error.status === 409;
      count();
      report(error.message, true);
      if (stale) state.append(" ", make("button", { type: "button", className: "sx-link", onclick: again }, "Reload"));
      return false;
    }
  }
  async function again() {
    stale = false;
    version = null;
    await load();
  }

  root.addEventListener("library:add", (event) => insert(event.detail, null));
  function insert(items, before) {
    const room = LONGEST - list.children.length;
    const fresh = items.slice(0, Math.max(0, room)).map((item) => row({ ...item, entry: null }));
    if (before) before.replaceWith(...fresh);
    else list.append(...fresh);
    fresh.at(-1)?.scrollIntoView({ block: "nearest" });
    count();
    if (fresh.length < items.length) report(`A playlist has at most ${LONGEST} entries: create a second one.`, true);
  }

  // The admin's own Save stores only the name: the order is saved first, and if that fails
  // the page stays with its content.
  async function storeFirst(event) {
    if (!loading && !changed()) return;
    event.preventDefault();
    const { target, submitter } = event;
    await loading;
    while (changed()) {
      if (await store()) continue;
      state.scrollIntoView({ block: "center" });
      return;
    }
    target.requestSubmit(submitter);
  }

  if (may) {
    save.addEventListener("click", store);
    document.getElementById("playlist_form").addEventListener("submit", storeFirst);
    undo.addEventListener("click", async () => {
      await draw(saved);
      count();
    });
    new window.Sortable(list, {
      group: { name: "playlist", pull: false, put: true },
      handle: ".lib-row",
      filter: ".lib-tools",
      preventOnFilter: false,
      delay: 150,
      delayOnTouchOnly: true,
      scroll: true,
      scrollSensitivity: 60,
      ghostClass: "lib-ghost",
      onUpdate: count,
      onAdd: (event) => {
        // The dropped element is a copy of the library's row: an entry replaces it.
        const item = window.library.items.get(Number(event.item.dataset.item));
        const chosen = item ? [item] : [];
        if (chosen.length) insert(chosen, event.item);
        else event.item.remove();
      },
    });
    addEventListener("beforeunload", (event) => {
      if (version !== null && changed()) event.preventDefault();
    });
  }
  load();
})();
