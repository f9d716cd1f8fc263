// Files go up in parts, straight to the bucket where there is one: three at once, each tried
// again when it fails, and the whole goes on where it stopped.
"use strict";

(() => {
  const root = document.querySelector("[data-upload]");
  if (!root) return;
  const { ask, post, token, make, size, length } = window.library;
  const files = root.querySelector("[data-files]");
  const drop = root.querySelector("[data-drop]");
  const input = drop.querySelector("input");
  const folder = root.querySelector("#upload-folder");
  const told = root.querySelector("[data-told]");
  const AT_ONCE = 3;
  const TRIES = 5;
  const SPAN = 5000; // ms over which the speed is measured
  const waiting = [];
  let busy = false;

  // One part by XHR: fetch tells nothing of what has gone up so far.
  function put(url, blob, headers, progress, signal) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      const fail = (text, passing, status = 0) => reject(Object.assign(new Error(text), { passing, status }));
      request.open("PUT", url);
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      request.upload.onprogress = (event) => progress(event.loaded);
      request.onload = () => {
        if (request.status >= 200 && request.status < 300) return resolve();
        let text = `The storage answers ${request.status}.`;
        try {
          text = JSON.parse(request.responseText).detail || text;
        } catch {
          // A bucket answers in XML; its status says enough.
        }
        // 403: the address has run out; the next try asks for a new one.
        return fail(text, request.status >= 500 || request.status === 403 || request.status === 429, request.status);
      };
      request.onerror = () => fail(refused(), true);
      request.onabort = () => fail("", false);
      signal.addEventListener("abort", () => request.abort(), { once: true });
      request.send(blob);
    });
  }
  function refused() {
    const { origin } = root.dataset;
    if (!origin) return "The server can't be reached.";
    return `The bucket at ${origin} can't be reached, or does not allow uploads from ${location.origin}: see “Uploads from the browser” in deploy/README.md for the CORS rule that it needs.`;
  }

  class Upload {
    constructor(file) {
      this.file = file;
      this.folder = folder.value;
      this.ticket = null;
      this.done = new Set();
      this.sent = new Map(); // part → bytes that have gone up
      this.marks = [];
      this.state = "waiting";
      this.stopper = new AbortController();
      this.bar = make("progress", { max: 1000, value: 0 });
      this.bar.setAttribute("aria-label", file.name);
      this.note = make("span", { className: "sx-small" }, "Waiting");
      this.name = make("b", {}, file.name);
      const tool = (text, work) => make("button", { type: "button", className: "sx-button", onclick: () => work.call(this) }, text);
      this.tools = { pause: tool("Pause", this.pause), go: tool("Go on", this.goOn), cancel: tool("Cancel", this.cancel) };
      this.element = make("li", { className: "sx-card lib-file", dataset: { state: "waiting" } },
        this.name, make("span", { className: "sx-figure" }, size(file.size)), this.bar, this.note,
        make("span", { className: "lib-bar" }, ...Object.values(this.tools)));
      this.show("waiting", "Waiting");
    }

    show(state, text, hopeless = false) {
      this.state = state;
      this.element.dataset.state = state;
      this.note.textContent = text;
      this.note.classList.toggle("lib-fault", state === "fault");
      this.tools.pause.hidden = !["sending", "waiting"].includes(state);
      this.tools.go.hidden = hopeless || !["paused", "fault"].includes(state);
      this.tools.cancel.hidden = ["done", "cancelled", "finishing"].includes(state);
    }

    get bytes() {
      return [...this.sent.values()].reduce((sum, each) => sum + each, 0);
    }

    progress() {
      const bytes = this.bytes;
      this.bar.value = (1000 * bytes) / this.file.size;
      const now = performance.now();
      this.marks.push([now, bytes]);
      while (this.marks.length > 2 && this.marks[0][0] < now - SPAN) this.marks.shift();
      const [[then, before]] = this.marks;
      const speed = (bytes - before) / Math.max(1, now - then); // bytes per ms
      if (this.state !== "sending") return;
      const left = speed > 0 && now - then > 500 ? `, ${(speed / 1e3).toFixed(1)} MB/s, ${length((this.file.size - bytes) / speed / 1e3)} left` : "";
      this.note.textContent = `${Math.floor((100 * bytes) / this.file.size)} %${left}`;
    }

    async send() {
      this.stopper = new AbortController();
      this.marks = [];
      this.show("sending", "Beginning …");
      try {
        if (!this.ticket) {
          const begun = await post(root.dataset.begin, { name: this.file.name, size: this.file.size, folder: this.folder });
          Object.assign(this, { ticket: begun.ticket, partBytes: begun.part_bytes, parts: begun.parts, key: begun.key });
          this.name.textContent = begun.key;
        }
        const left = [];
        for (let number = 1; number <= this.parts; number += 1) if (!this.done.has(number)) left.push(number);
        const worker = async () => {
          while (left.length && !this.stopper.signal.aborted) await this.part(left.shift());
        };
        // The first that fails for good ends the others as well.
        await Promise.all(Array.from({ length: AT_ONCE }, () => worker().catch((error) => {
          this.halt();
          throw error;
        })));
        if (this.state !== "sending") return;
        await this.finish();
      } catch (error) {
        if (this.state === "sending" || this.state === "finishing") this.show("fault", error.message, error.hopeless);
        told.textContent = `${this.file.name}: ${error.message}`;
      }
    }

    async part(number) {
      const from = (number - 1) * this.partBytes;
      const blob = this.file.slice(from, from + this.partBytes);
      for (let tried = 1; ; tried += 1) {
        try {
          const { url, here } = await post(root.dataset.address, { ticket: this.ticket, number });
          const headers = here ? { "X-CSRFToken": token(), "X-Upload": this.ticket, Accept: "application/json" } : {};
          await put(url, blob, headers, (loaded) => {
            this.sent.set(number, Math.min(loaded, blob.size));
            this.progress();
          }, this.stopper.signal);
          this.done.add(number);
          this.sent.set(number, blob.size);
          this.progress();
          return;
        } catch (error) {
          this.sent.delete(number);
          if (this.stopper.signal.aborted || !error.passing || tried >= TRIES) throw error;
          this.note.textContent = `${error.message} Trying again …`;
          await this.rest(500 * 2 ** tried);
        }
      }
    }
    rest(ms) {
      return new Promise((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.stopper.signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
      });
    }

    async finish() {
      this.show("finishing", "Putting the parts together …");
      const item = await post(root.dataset.finish, { ticket: this.ticket });
      this.show("done", "In the library: ");
      this.note.append(make("a", { href: item.url, className: "sx-watch" }, item.title));
      told.textContent = `${item.title} is in the library.`;
    }
    halt() {
      this.stopper.abort();
    }
    pause() {
      this.show("paused", "Paused");
      this.halt();
      const at = waiting.indexOf(this);
      if (at >= 0) waiting.splice(at, 1);
    }
    goOn() {
      this.show("waiting", "Waiting");
      waiting.push(this);
      work();
    }
    async cancel() {
      const at = waiting.indexOf(this);
      if (at >= 0) waiting.splice(at, 1);
      this.show("cancelled", "Cancelled");
      this.halt();
      if (this.ticket) await post(root.dataset.abort, { ticket: this.ticket }).catch((error) => (this.note.textContent = error.message));
    }
  }

  async function work() {
    if (busy) return;
    busy = true;
    try {
      while (waiting.length) await waiting.shift().send();
    } finally {
      busy = false;
    }
  }
  function take(chosen) {
    for (const file of chosen) {
      const upload = new Upload(file);
      files.append(upload.element);
      waiting.push(upload);
    }
    work();
  }

  // Caught on its way down: the theme would look for a text field to put the name into.
  drop.addEventListener("change", (event) => {
    event.stopPropagation();
    take(input.files);
    input.value = "";
  }, true);
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("lib-over");
    });
  }
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("lib-over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files);
  });
  root.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("beforeunload", (event) => {
    if (files.querySelector("[data-state=sending], [data-state=finishing], [data-state=paused]")) event.preventDefault();
  });

  // The folders below the one that is typed, as far as its last slash.
  const known = root.querySelector("#upload-folders");
  let listed = null;
  async function suggest() {
    const parent = folder.value.split("/").slice(0, -1).join("/");
    if (parent === listed) return;
    listed = parent;
    try {
      const answer = await ask(`${root.dataset.folders}?${new URLSearchParams({ in: parent })}`);
      known.replaceChildren(...answer.folders.map((name) => make("option", { value: parent ? `${parent}/${name}` : name })));
    } catch {
      listed = null; // without suggestions a folder can still be typed
    }
  }
  folder.addEventListener("input", suggest);
  folder.addEventListener("focus", suggest);
})();
