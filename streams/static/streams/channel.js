// The channel's page: the preview, the live log and the tables.
"use strict";

(() => {
  const { get, onReport, zone } = window.streamsite;

  // ---- preview -----------------------------------------------------------------------------
  const video = document.querySelector("video[data-hls]");
  if (video) {
    const RETRY_MS = 2000; // the playlist appears some seconds after the start
    let hls = null;
    let showing = false;
    let timer = 0;

    function close() {
      clearTimeout(timer);
      hls?.destroy();
      hls = null;
      video.classList.remove("sx-live");
    }
    function open() {
      close();
      if (!showing || document.hidden) return;
      if (!window.Hls?.isSupported()) {
        video.src = video.dataset.hls; // Safari on a phone plays HLS natively
        return;
      }
      hls = new Hls({ liveSyncDurationCount: 2, maxBufferLength: 12, backBufferLength: 10 });
      hls.on(Hls.Events.ERROR, (_, error) => {
        if (!error.fatal) return;
        if (error.type === Hls.ErrorTypes.MEDIA_ERROR) {
          hls.recoverMediaError();
        } else {
          close();
          timer = setTimeout(open, RETRY_MS);
        }
      });
      hls.on(Hls.Events.MANIFEST_PARSED, () => video.play().catch(() => (video.controls = true)));
      hls.loadSource(video.dataset.hls);
      hls.attachMedia(video);
    }
    video.addEventListener("playing", () => video.classList.add("sx-live"));
    document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
    onReport((report) => {
      const { state } = report.channels[0];
      const want = state !== "off" && state !== "stopping";
      if (want === showing) return;
      showing = want;
      open();
    });

    const sound = document.querySelector("[data-sound]");
    sound.addEventListener("click", () => {
      video.muted = !video.muted;
      sound.setAttribute("aria-pressed", String(!video.muted));
    });
    document.querySelector("[data-full]").addEventListener("click", () => video.requestFullscreen?.());
  }

  // ---- log ---------------------------------------------------------------------------------
  const log = document.querySelector("[data-log]");
  const newest = document.querySelector("[data-log-newest]");
  const MAX_LINES = 1000; // in the page
  let last = "";

  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  function toEnd() {
    log.scrollTop = log.scrollHeight;
    newest.hidden = true;
  }
  function line({ at, role, level, text }) {
    const item = document.createElement("li");
    item.dataset.level = level.toLowerCase();
    const time = document.createElement("time");
    time.dateTime = at;
    time.textContent = new Date(at).toLocaleTimeString("en-GB", { timeZone: zone });
    const mark = document.createElement("b");
    mark.textContent = level.toUpperCase();
    const who = document.createElement("i");
    who.textContent = role;
    const words = document.createElement("span");
    words.textContent = text;
    item.append(time, mark, who, words);
    return item;
  }
  async function readLog() {
    try {
      const answer = await get(`${log.dataset.log}?limit=200${last && `&after=${last}`}`);
      const lines = (await answer.json()).items.reverse();
      if (lines.length) {
        const follow = atEnd();
        log.querySelector(".sx-nothing")?.remove();
        log.append(...lines.map(line));
        last = lines.at(-1).id;
        while (log.childElementCount > MAX_LINES) log.firstElementChild.remove();
        if (follow) toEnd();
        else newest.hidden = false;
      }
    } catch {
      // source.js reports an unreachable server; polling continues.
    }
  }
  log.addEventListener("scroll", () => atEnd() && (newest.hidden = true));
  newest.addEventListener("click", toEnd);
  document.querySelector("[data-log-filter]").addEventListener("change", (event) => {
    log.classList.toggle("sx-log-loud", event.target.checked);
    toEnd();
  });

  // ---- tables ------------------------------------------------------------------------------
  const panels = document.querySelector("[data-panels]");
  let etag = "";
  async function readPanels() {
    try {
      const answer = await get(panels.dataset.panels, etag ? { "If-None-Match": etag } : {});
      if (answer.status === 304) return;
      etag = answer.headers.get("ETag") || "";
      panels.innerHTML = await answer.text();
    } catch {
      // As above: the old tables stay until new ones arrive.
    }
  }

  function every(ms, read) {
    async function turn() {
      if (!document.hidden) await read();
      setTimeout(turn, ms);
    }
    turn();
  }
  every(1000, readLog);
  setTimeout(() => every(10_000, readPanels), 5000);
})();
