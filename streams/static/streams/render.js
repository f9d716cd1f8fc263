// Updates the page with new reports. The server has rendered everything once, so the page is
// complete without JavaScript.
"use strict";

(() => {
  const { now, onReport, onLost, zone } = window.streamsite;
  const NOTHING = "–";
  const PICTURE_INTERVAL_MS = 10_000; // the server makes new ones at this interval

  // The same as in streams/monitoring/formatting.py.
  const two = (value) => String(value).padStart(2, "0");
  function span(ms) {
    const total = Math.max(0, Math.floor(ms / 1000));
    const [second, minute, hour, day] = [
      total % 60, Math.floor(total / 60) % 60, Math.floor(total / 3600) % 24, Math.floor(total / 86400),
    ];
    if (day) return `${day} d ${two(hour)}:${two(minute)}:${two(second)}`;
    return hour ? `${hour}:${two(minute)}:${two(second)}` : `${minute}:${two(second)}`;
  }
  function bitrate(value) {
    if (value === null) return NOTHING;
    return value >= 1e6 ? `${(value / 1e6).toFixed(2)} Mbit/s` : `${Math.round(value / 1e3)} kbit/s`;
  }
  const clock = (iso) =>
    new Date(iso).toLocaleString("en-GB", { timeZone: zone, day: "2-digit", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });

  function put(root, name, text) {
    for (const element of root.querySelectorAll(`[data-f="${name}"]`)) {
      if (element.textContent !== text) element.textContent = text;
    }
  }
  function since(root, name, iso) {
    for (const element of root.querySelectorAll(`[data-f="${name}"]`)) element.dataset.since = iso || "";
  }
  function cause(root, text) {
    for (const element of root.querySelectorAll(':scope > [data-f="cause"], :scope .sx-tile-body > [data-f="cause"], :scope .sx-side > [data-f="cause"]')) {
      if (element.textContent !== text) element.textContent = text;
      element.hidden = !text;
    }
  }

  const announcer = document.querySelector("[data-announcer]");
  const states = new Map();
  function announce(channel) {
    const before = states.get(channel.slug);
    states.set(channel.slug, channel.state);
    if (announcer && before && before !== channel.state) {
      announcer.textContent = `${channel.name}: ${channel.label}. ${channel.cause}`;
    }
  }

  function showOutput(element, output) {
    element.dataset.state = output.state;
    put(element, "label", output.label);
    put(element, "bitrate", bitrate(output.bitrate));
    const why = element.querySelector('[data-f="cause"]');
    const retry = output.retry_at && new Date(output.retry_at) > now() ? ` Next try at ${clock(output.retry_at).slice(-8)}.` : "";
    why.textContent = output.cause ? output.cause + retry : "";
    why.hidden = !output.cause;
    const verdict = element.querySelector('[data-f="verdict"]');
    // The cause says the same: once is enough.
    verdict.hidden = !output.verdict || output.verdict.sentence === output.cause;
    if (output.verdict) {
      verdict.dataset.level = output.verdict.level;
      const level = output.verdict.level;
      verdict.textContent =
        `${level[0].toUpperCase()}${level.slice(1)}: ${output.verdict.sentence}`;
    }
    const sender = element.querySelector('[data-f="sender"]');
    sender.textContent = output.sender;
    sender.hidden = !output.sender;
    const session = element.querySelector('[data-f="session"]');
    if (!session) return;
    const due = output.session_due ? `, next after ${clock(output.session_due)}` : "";
    session.textContent = output.session_since ? `Session since ${clock(output.session_since)}${due}` : "";
    session.hidden = !output.session_since;
  }

  function showNow(root, channel) {
    const playing = channel.now;
    put(root, "now", playing ? playing.title : NOTHING);
    put(root, "next", channel.next || NOTHING);
    put(root, "why", (playing && playing.why) || "");
    for (const why of root.querySelectorAll('[data-f="why"]')) why.hidden = !why.textContent;
    since(root, "now-clock", playing && playing.since);
    if (!playing) put(root, "now-clock", NOTHING);
    const length = playing && playing.since && playing.until ? new Date(playing.until) - new Date(playing.since) : 0;
    put(root, "now-length", length ? ` / ${span(length)}` : "");
    for (const bar of root.querySelectorAll('[data-f="progress"]')) {
      bar.dataset.length = length;
      bar.dataset.since = length ? playing.since : "";
    }
  }

  function showIncident(root, incident) {
    for (const line of root.querySelectorAll('[data-f="incident"]')) {
      const open = incident && !incident.closed_at;
      line.dataset.open = open ? "yes" : "";
      const text = incident
        ? `${open ? "Open incident" : "Last incident"} ${clock(incident.opened_at)}: ${incident.cause}`
        : "No incident yet.";
      if (line.textContent.trim() !== text) line.textContent = text;
    }
  }

  function showOrders(root, channel) {
    const group = root.classList.contains("sx-orders") ? root : root.querySelector(".sx-orders");
    if (!group) return;
    const on = channel.desired_state === "on";
    const held = group.contains(document.activeElement);
    for (const button of group.querySelectorAll("[data-verb]")) {
      button.hidden = (button.dataset.verb === "start") === on;
    }
    // When the focused button is hidden, move the keyboard focus to another one.
    if (held && document.activeElement.hidden) group.querySelector("[data-verb]:not([hidden])")?.focus();
  }

  function show(root, channel) {
    root.dataset.state = channel.state;
    root.dataset.desiredState = channel.desired_state;
    for (const label of root.querySelectorAll('[data-f="label"]')) {
      if (!label.closest("[data-output]")) label.textContent = channel.label;
    }
    cause(root, channel.cause);
    put(root, "screen", channel.state === "off" ? "Off air" : channel.preview ? "No picture" : "The preview is off");
    put(root, "outlook", channel.outlook || "");
    for (const line of root.querySelectorAll('[data-f="outlook"]')) {
      line.hidden = channel.state !== "off" || !channel.outlook;
    }
    since(root, "on-air", channel.on_air_since);
    if (!channel.on_air_since) put(root, "on-air", "");
    for (const figure of root.querySelectorAll('[data-f="bitrate"]')) {
      if (!figure.closest("[data-output]")) figure.textContent = bitrate(channel.bitrate);
    }
    showNow(root, channel);
    for (const output of channel.outputs) {
      const element = root.querySelector(`[data-output="${output.id}"]`);
      if (element) showOutput(element, output);
    }
    showIncident(root, channel.last_incident);
    showOrders(root, channel);
  }

  // Detects added or removed channels and outputs: the page is reloaded.
  function changed(report) {
    const all = document.querySelector("[data-all]");
    if (!all || document.querySelector("dialog[open]")) return false;
    const shown = [...all.querySelectorAll(".sx-tile")].map((tile) => [
      tile.dataset.channel, ...[...tile.querySelectorAll("[data-output]")].map((output) => output.dataset.output),
    ].join());
    const there = report.channels.map((channel) => [channel.slug, ...channel.outputs.map((output) => output.id)].join());
    return shown.join(";") !== there.join(";");
  }

  onReport((report) => {
    // An unknown state is shown as unknown.
    for (const channel of report.channels) if (!channel.confirmed) channel.state = "unknown";
    if (changed(report)) {
      location.reload();
      return;
    }
    for (const channel of report.channels) {
      for (const root of document.querySelectorAll(`[data-channel="${channel.slug}"]`)) show(root, channel);
      announce(channel);
    }
    tick();
    pictures();
  });

  function tick() {
    for (const element of document.querySelectorAll("[data-since]")) {
      const from = Date.parse(element.dataset.since);
      if (Number.isNaN(from)) {
        if (element.tagName === "PROGRESS") element.value = 0;
      } else if (element.tagName === "PROGRESS") {
        element.value = Math.min(1000, Math.max(0, ((now() - from) / element.dataset.length) * 1000));
      } else {
        element.textContent = span(now() - from);
      }
    }
  }

  function load(image, again) {
    const next = new Image();
    next.onload = () => {
      image.hidden = false;
      image.src = next.src;
    };
    // Without a picture the text behind it shows. It may be in the making, so try once more.
    next.onerror = () => {
      image.hidden = true;
      if (again) setTimeout(load, 2000, image, false);
    };
    next.src = `${image.dataset.picture}?${Date.now()}`;
  }

  let loadedAt = 0;
  function pictures() {
    const due = Date.now() - loadedAt >= PICTURE_INTERVAL_MS;
    if (due) loadedAt = Date.now();
    for (const image of document.querySelectorAll("[data-picture]")) {
      const state = image.closest("[data-channel]").dataset.state;
      if (state === "off" || state === "unknown") {
        image.hidden = true;
      } else if (due) {
        load(image, true);
      }
    }
  }

  const banner = document.querySelector("[data-lost]");
  onLost((when, sentence) => {
    document.querySelector(".sx")?.classList.toggle("sx-stale", when !== null);
    if (!banner) return;
    banner.hidden = when === null;
    if (when) banner.textContent = `${sentence} The values shown are from ${clock(when)}.`;
  });

  setInterval(() => {
    if (!document.hidden && !document.querySelector(".sx-stale")) tick();
  }, 1000);
})();
