// The library beside a playlist: search, folders, filters, an endless list, a selection.
"use strict";

(() => {
  const root = document.querySelector("[data-picker]");
  if (!root) return;
  const { request } = window.api;
  const { make, about } = window.library;
  const editor = document.querySelector("[data-editor]");
  const list = root.querySelector("[data-items-list]");
  const crumbs = root.querySelector("[data-crumbs]");
  const chips = root.querySelector("[data-folders]");
  const button = root.querySelector("[data-add]");
  const chosen = root.querySelector("[data-chosen]");
  const hint = chosen.textContent;
  const WAIT = 250; // ms without a key before a search begins
  const items = new Map(); // loaded items by id
  let folder = "";
  let next = "";
  let round = null; // aborts the requests of an older search
  let anchor = null;
  const end = make("li", { className: "lib-end", role: "presentation" });

  function query(after) {
    const params = new URLSearchParams({ folder, cursor: after, limit: 60 });
    for (const field of root.querySelectorAll("[data-q]")) if (field.value) params.set(field.dataset.q, field.value);
    // From and below, in seconds.
    const [longer, shorter] = (params.get("length") || "").split("-");
    params.delete("length");
    if (longer) params.set("longer", longer);
    if (shorter) params.set("shorter", shorter);
    return `/api/v1/media?${params}`;
  }

  function row(item) {
    const line = make("li", { className: "lib-row", role: "option", tabIndex: -1, dataset: { item: item.item } }, ...about(item));
    line.setAttribute("aria-selected", "false");
    return line;
  }

  async function more() {
    if (next === null || round.signal.aborted || list.ariaBusy === "true") return;
    list.ariaBusy = "true";
    const mine = round;
    end.textContent = "Loading …";
    try {
      const answer = await request(query(next), { signal: mine.signal });
      if (mine !== round) return;
      next = answer.next_cursor;
      const found = answer.items.map((item) => ({ ...item, item: item.id }));
      for (const item of found) items.set(item.item, item);
      end.before(...found.map(row));
      end.textContent = next === null ? (list.children.length > 1 ? "" : "Nothing matches.") : "";
      if (next === null && list.children.length > 1) end.hidden = true;
    } catch (error) {
      if (mine !== round) return;
      end.replaceChildren(error.message, " ", make("button", { type: "button", className: "sx-link", onclick: more }, "Try again"));
    } finally {
      if (mine === round) list.ariaBusy = "false";
    }
  }

  function begin() {
    round?.abort();
    round = new AbortController();
    next = "";
    anchor = null;
    items.clear();
    end.hidden = false;
    list.ariaBusy = "false";
    list.replaceChildren(end);
    list.scrollTop = 0;
    select();
    more().then(fill);
  }
  // A high pane may have space for more than the first page.
  function fill() {
    if (next && list.scrollHeight <= list.clientHeight + 200) more().then(fill);
  }

  async function showFolders() {
    const parts = folder ? folder.split("/") : [];
    const step = (name, path) => make("button", { type: "button", className: "sx-link", onclick: () => go(path) }, name);
    const steps = [step("All", "")];
    parts.forEach((name, n) => steps.push(make("span", {}, "/"), step(name, parts.slice(0, n + 1).join("/"))));
    crumbs.replaceChildren(...steps);
    const requested = folder;
    try {
      const answer = await request(`/api/v1/media/folders?${new URLSearchParams({ parent: folder })}`);
      if (requested !== folder) return;
      const below = (name) => make("li", {}, make("button", { type: "button", onclick: () => go(folder ? `${folder}/${name}` : name) }, name));
      chips.replaceChildren(...answer.folders.map(below));
      if (answer.more) chips.append(make("li", { className: "sx-small" }, "and more: search for them"));
    } catch (error) {
      chips.replaceChildren(make("li", { className: "lib-fault" }, error.message));
    }
  }
  function go(path) {
    folder = path;
    showFolders();
    begin();
  }

  // ---- selection ---------------------------------------------------------------------------
  const selected = () => [...list.querySelectorAll("[aria-selected=true]")];

  function select() {
    const count = selected().length;
    button.disabled = !count;
    button.textContent = count > 1 ? `Add ${count}` : "Add";
    chosen.textContent = count ? `${count} selected` : hint;
  }
  function mark(line, on) {
    line.setAttribute("aria-selected", String(on));
  }
  function choose(line, { range, toggle }) {
    const lines = [...list.querySelectorAll("[data-item]")];
    if (range && anchor && anchor.isConnected) {
      const [from, to] = [lines.indexOf(anchor), lines.indexOf(line)].sort((a, b) => a - b);
      lines.forEach((other, n) => mark(other, n >= from && n <= to));
    } else {
      if (!toggle) for (const other of selected()) if (other !== line) mark(other, false);
      mark(line, toggle ? line.ariaSelected !== "true" : true);
      anchor = line;
    }
    select();
  }
  function add(lines) {
    const chosenItems = lines.map((line) => items.get(Number(line.dataset.item))).filter(Boolean);
    editor.dispatchEvent(new CustomEvent("library:add", { detail: chosenItems }));
  }

  list.addEventListener("mousedown", (event) => event.shiftKey && event.preventDefault());
  list.addEventListener("click", (event) => {
    const line = event.target.closest("[data-item]");
    // Touch screens have no Ctrl: each tap adds to the selection.
    const touch = event.pointerType === "touch";
    if (line) choose(line, { range: event.shiftKey, toggle: event.ctrlKey || event.metaKey || touch });
  });
  list.addEventListener("dblclick", (event) => {
    const line = event.target.closest("[data-item]");
    if (line) add([line]);
  });
  list.addEventListener("keydown", (event) => {
    const lines = [...list.querySelectorAll("[data-item]")];
    const at = lines.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[event.key];
    if (step && lines.length) {
      const to = lines[Math.min(lines.length - 1, Math.max(0, at + step))];
      to.focus();
      if (event.shiftKey) choose(to, { range: true });
      if (to === lines.at(-1)) more();
    } else if (event.key === " " && at >= 0) {
      choose(lines[at], { range: event.shiftKey, toggle: true });
    } else if (event.key === "Enter" && at >= 0) {
      add(selected().includes(lines[at]) ? selected() : [lines[at]]);
    } else {
      return;
    }
    event.preventDefault();
  });
  list.addEventListener("scroll", () => {
    if (list.scrollTop + list.clientHeight > list.scrollHeight - 600) more();
  }, { passive: true });
  button.addEventListener("click", () => add(selected()));

  let timer = 0;
  root.querySelector("[data-q=q]").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(begin, WAIT);
  });
  for (const field of root.querySelectorAll("select[data-q]")) field.addEventListener("change", begin);

  new window.Sortable(list, {
    group: { name: "playlist", pull: "clone", put: false },
    sort: false,
    draggable: "[data-item]",
    delay: 150,
    delayOnTouchOnly: true,
  });
  window.library.items = items;
  go("");
})();
