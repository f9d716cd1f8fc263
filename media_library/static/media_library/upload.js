// Uploads files in parts, directly to the bucket if there is one: three parts at once, with
// retries, and resumable after a stop.
"use strict";

(() => {
  const root = document.querySelector("[data-upload]");
  if (!root) return;
  const { request, send, token } = window.api;
  const { make, size, length } = window.library;
  const UPLOADS = "/api/v1/media/uploads";
  const files = root.querySelector("[data-files]");
  const drop = root.querySelector("[data-drop]");
  const input = drop.querySelector("input");
  const folder = root.querySelector("#upload-folder");
  const announcement = root.querySelector("[data-announcement]");
  const AT_ONCE = 3;
  const TRIES = 5;
  const SPAN = 5000; // ms over which the speed is measured
  const waiting = [];
  let busy = false;

  // Sends one part by XHR: fetch does not report upload progress.
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
          // A bucket answers in XML; its status suffices.
        }
        // 403: the URL has expired; the next try requests a new one.
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
    return `The bucket at ${origin} can't be reached, or does not allow uploads from ${location.origin}: see “By the browser” in deploy/upload.md for the required CORS rule.`;
  }

  class Upload {
    constructor(file) {
      this.file = file;
      this.folder = folder.value;
      this.ticket = null;
      this.done = new Set();
      this.sent = new Map(); // part → bytes sent
      this.marks = [];
      this.state = "waiting";
      this.stopper = new AbortController();
      this.bar = make("progress", { max: 1000, value: 0 });
      this.bar.setAttribute("aria-label", file.name);
      this.note = make("span", { className: "sx-small" }, "Waiting");
      this.name = make("b", {}, file.name);
      const tool = (text, work) => make("button", { type: "button", className: "sx-button", onclick: () => work.call(this) }, text);
      this.tools = { pause: tool("Pause", this.pause), resume: tool("Resume", this.resume), cancel: tool("Cancel", this.cancel) };
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
      this.tools.resume.hidden = hopeless || !["paused", "fault"].includes(state);
      this.tools.cancel.hidden = ["done", "cancelled", "finishing"].includes(state);
    }

    get bytes() {
      return [...this.sent.values()].reduce((sum, bytes) => sum + bytes, 0);
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
      this.show("sending", "Starting …");
      try {
        if (!this.file.size) throw Object.assign(new Error("The file is empty."), { hopeless: true });
        if (!this.ticket) {
          const begun = await send("POST", UPLOADS, { name: this.file.name, size_bytes: this.file.size, folder: this.folder });
          Object.assign(this, { ticket: begun.ticket, partBytes: begun.part_bytes, parts: begun.parts, key: begun.key });
          this.name.textContent = begun.key;
        }
        const left = [];
        for (let number = 1; number <= this.parts; number += 1) if (!this.done.has(number)) left.push(number);
        const worker = async () => {
          while (left.length && !this.stopper.signal.aborted) await this.part(left.shift());
        };
        // The first permanent failure ends the others as well.
        await Promise.all(Array.from({ length: AT_ONCE }, () => worker().catch((error) => {
          this.halt();
          throw error;
        })));
        if (this.state !== "sending") return;
        await this.finish();
      } catch (error) {
        if (this.state === "sending" || this.state === "finishing") this.show("fault", error.message, error.hopeless);
        announcement.textContent = `${this.file.name}: ${error.message}`;
      }
    }

    async part(number) {
      const from = (number - 1) * this.partBytes;
      const blob = this.file.slice(from, from + this.partBytes);
      for (let tried = 1; ; tried += 1) {
        try {
          const { url, here } = await send("POST", `${UPLOADS}/part-url`, { ticket: this.ticket, number });
          const headers = here ? { "X-CSRFToken": token(), "X-Upload-Ticket": this.ticket, Accept: "application/json" } : {};
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
      this.show("finishing", "Assembling the parts …");
      const item = await send("POST", `${UPLOADS}/finish`, { ticket: this.ticket });
      this.show("done", "In the library: ");
      this.note.append(make("a", { href: root.dataset.item.replace("/0/", `/${item.id}/`), className: "sx-watch" }, item.title));
      announcement.textContent = `${item.title} is in the library.`;
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
    resume() {
      this.show("waiting", "Waiting");
      waiting.push(this);
      work();
    }
    async cancel() {
      const at = waiting.indexOf(this);
      if (at >= 0) waiting.splice(at, 1);
      this.show("cancelled", "Cancelled");
      this.halt();
      if (this.ticket) await send("POST", `${UPLOADS}/abort`, { ticket: this.ticket }).catch((error) => (this.note.textContent = error.message));
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

  // Captured, because the theme would write the name into a text field.
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

  // Suggests the subfolders of the typed folder, up to its last slash.
  const suggestions = root.querySelector("#upload-folders");
  let listed = null;
  async function suggest() {
    const parent = folder.value.split("/").slice(0, -1).join("/");
    if (parent === listed) return;
    listed = parent;
    try {
      const answer = await request(`/api/v1/media/folders?${new URLSearchParams({ parent })}`);
      suggestions.replaceChildren(...answer.folders.map((name) => make("option", { value: parent ? `${parent}/${name}` : name })));
    } catch {
      listed = null; // a folder can be typed without suggestions
    }
  }
  folder.addEventListener("input", suggest);
  folder.addEventListener("focus", suggest);
})();
