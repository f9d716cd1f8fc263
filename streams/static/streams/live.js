// The page of live streams, and the copy buttons.
"use strict";

(() => {
  document.addEventListener("click", async ({ target }) => {
    const button = target.closest("[data-copy]");
    if (!button) return;
    const text = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch {
      // Without HTTPS the browser has no clipboard API: select the text instead.
      getSelection().selectAllChildren(text);
    }
  });

  const page = document.querySelector("[data-live]");
  if (!page) return;
  const INTERVAL_MS = 2000; // the server polls at the same interval
  const { get, now } = window.streamsite;
  const list = page.querySelector("[data-live-streams]");
  const none = page.querySelector("[data-live-none]");
  const fault = page.querySelector("[data-live-fault]");
  const template = document.querySelector("[data-live-template]");
  const token = page.dataset.readToken;
  let etag = "";

  // ---- pictures ----------------------------------------------------------------------------
  function watch(card) {
    const video = card.querySelector("video");
    const button = card.querySelector("[data-watch]");
    button.hidden = true;
    video.hidden = false;
    video.controls = true;
    if (!window.Hls?.isSupported()) {
      video.src = card.dataset.hls; // Safari on a phone plays HLS natively
      return;
    }
    const hls = new Hls({
      liveSyncDurationCount: 2,
      maxBufferLength: 12,
      xhrSetup: (request) => token && request.setRequestHeader("Authorization", `Bearer ${token}`),
    });
    card.hls = hls;
    hls.on(Hls.Events.MANIFEST_PARSED, () => video.play().catch(() => {}));
    hls.on(Hls.Events.ERROR, (_, error) => {
      if (!error.fatal) return;
      if (error.type === Hls.ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
      else unwatch(card, "No picture. Try again");
    });
    hls.loadSource(card.dataset.hls);
    hls.attachMedia(video);
  }
  function unwatch(card, words = "Watch") {
    card.hls?.destroy();
    delete card.hls;
    card.querySelector("video").hidden = true;
    const button = card.querySelector("[data-watch]");
    button.textContent = words;
    button.hidden = false;
  }
  list.addEventListener("click", ({ target }) => {
    if (target.closest("[data-watch]")) watch(target.closest("[data-stream]"));
  });

  // ---- figures -----------------------------------------------------------------------------
  const pad = (n) => String(n).padStart(2, "0");
  function clock(since) {
    const s = Math.max(0, Math.floor((now() - Date.parse(since)) / 1000));
    return `${Math.floor(s / 3600)}:${pad(Math.floor(s / 60) % 60)}:${pad(s % 60)}`;
  }
  function bitrate(value) {
    if (value === null) return "–";
    return value < 1e6 ? `${Math.round(value / 1e3)} kbit/s` : `${(value / 1e6).toFixed(1)} Mbit/s`;
  }
  function show(card, stream) {
    const put = (name, text) => (card.querySelector(`[data-f=${name}]`).textContent = text);
    const unknown = stream.state === "unknown";
    card.dataset.stream = stream.id;
    card.dataset.state = unknown ? "unknown" : "on_air";
    card.dataset.hls = stream.urls.hls;
    put("label", unknown ? "Unknown" : "Live");
    put("bitrate", bitrate(stream.bitrate));
    put("name", stream.broadcaster?.name ?? stream.path);
    put("source", `${stream.source.type} ${stream.source.address}`);
    put("started", new Date(stream.started_at).toLocaleString("en-GB"));
    put("tracks", stream.tracks.join(", ") || "–");
    card.querySelector("[data-f=since]").dataset.since = stream.started_at;
    card.querySelector("[data-f=urls]").replaceChildren(
      ...Object.entries(stream.urls).flatMap(([name, url]) => {
        const term = document.createElement("dt");
        term.textContent = name.toUpperCase();
        const words = document.createElement("dd");
        const code = document.createElement("code");
        code.textContent = url;
        words.append(code);
        return [term, words];
      }),
    );
  }
  function render({ items, fault: sentence }) {
    const streams = items.reverse(); // the longest first
    fault.textContent = sentence;
    fault.hidden = !sentence;
    none.hidden = streams.length > 0;
    const cards = new Map([...list.children].map((card) => [card.dataset.stream, card]));
    for (const stream of streams) {
      let card = cards.get(String(stream.id));
      cards.delete(String(stream.id));
      if (!card) {
        card = template.content.querySelector("article").cloneNode(true);
        list.append(card);
      }
      show(card, stream);
    }
    for (const card of cards.values()) {
      card.hls?.destroy();
      card.remove();
    }
  }
  function tick() {
    for (const time of list.querySelectorAll("[data-since]")) time.textContent = clock(time.dataset.since);
  }
  async function read() {
    try {
      const answer = await get(page.dataset.live, etag ? { "If-None-Match": etag } : {});
      if (answer.status === 200) {
        etag = answer.headers.get("ETag") || "";
        render(await answer.json());
      }
    } catch (error) {
      etag = "";
      fault.textContent = `This page is outdated. ${error.name === "Error" ? error.message : "The server doesn't answer."}`;
      fault.hidden = false;
    }
    setTimeout(read, INTERVAL_MS);
  }
  read();
  setInterval(tick, 1000);
})();
