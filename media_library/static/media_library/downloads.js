// Shows the progress of running downloads. streams/source.js receives the figures.
"use strict";

(() => {
  const { now, onReport, onLost } = window.streamsite;
  const { size, length } = window.library;
  const root = document.querySelector("[data-downloads]");
  const list = root.querySelector("[data-jobs]");
  const may = list.dataset.may === "yes";
  const MAX_SHOWN = 40;
  // As in media_library/models/download.py.
  const LABELS = {
    queued: "Queued", extracting: "Reading the page", downloading: "Downloading", processing: "Processing", storing: "Storing",
  };
  const OVER = ["done", "failed", "cancelled"];
  let shown = null;

  function button(text, kind, verb, id) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = `sx-button ${kind}`;
    made.textContent = text;
    made.dataset.api = `POST /api/v1/${verb}/${id}`;
    made.dataset.done = verb === "cancel" ? "The download is cancelled." : "It will be tried again.";
    return made;
  }

  // Why a queued job does not start.
  function waits(job) {
    if (!job.waits_until || new Date(job.waits_until) - now() < 60_000) return "";
    const when = new Date(job.waits_until).toLocaleString("en-GB", { day: "numeric", month: "long", hour: "2-digit", minute: "2-digit" });
    return job.waits_until !== job.due_at && !job.fault ? `${job.site} gets no requests until ${when}.` : `Next try: ${when}.`;
  }

  function row(job) {
    const made = document.createElement("li");
    made.className = "sx-card lib-file dl-job";
    made.dataset.id = job.id;
    const title = document.createElement("b");
    const tools = document.createElement("span");
    tools.className = "lib-bar";
    const bar = document.createElement("progress");
    bar.max = 100;
    const words = document.createElement("span");
    words.className = "sx-small";
    made.append(title, tools, bar, words);
    return made;
  }

  // Buttons are replaced only when they change: a click must not lose its target.
  function tools(place, job) {
    const cancelling = job.cancel_requested && job.status !== "queued";
    const retries = job.status === "queued" && Boolean(job.note || job.fault || waits(job));
    const state = `${retries} ${cancelling}`;
    if (!may || place.dataset.for === state) return;
    place.dataset.for = state;
    const made = [];
    if (retries) made.push(button("Try now", "", "retry", job.id));
    const cancel = button("Cancel", "sx-stop", "cancel", job.id);
    cancel.disabled = cancelling;
    made.push(cancel);
    place.replaceChildren(...made);
  }

  function draw(made, job) {
    const [title, place, bar, words] = made.children;
    title.textContent = job.title || job.url;
    tools(place, job);
    // A step without progress has an indeterminate bar, not one that stands still.
    if (["extracting", "processing"].includes(job.status)) bar.removeAttribute("value");
    else bar.value = job.percent;
    const label = LABELS[job.status];
    const parts = [
      job.cancel_requested && job.status !== "queued" ? "Cancelling" : job.percent ? `${label} ${job.percent} %` : label,
      job.bytes_total && size(job.bytes_total),
      job.speed && `${size(job.speed)}/s`,
      job.seconds_left !== null && `${length(job.seconds_left)} left`,
    ];
    words.textContent = `${parts.filter(Boolean).join(", ")}. ${[job.note || job.fault, waits(job)].filter(Boolean).join(" ")}`;
    made.dataset.status = job.status;
  }

  onReport((report) => {
    // All that are not over, the running ones first; or a single one.
    const going = (report.items || [report]).filter(({ status }) => !OVER.includes(status));
    const jobs = [...going.filter(({ status }) => status !== "queued"), ...going.filter(({ status }) => status === "queued")].slice(0, MAX_SHOWN);
    const rows = new Map([...list.children].map((line) => [line.dataset.id, line]));
    for (const job of jobs) {
      const id = String(job.id);
      if (!rows.has(id)) {
        rows.set(id, row(job));
        list.append(rows.get(id));
      }
      draw(rows.get(id), job);
    }
    const here = new Set(jobs.map((job) => String(job.id)));
    for (const [id, line] of rows) if (!here.has(id)) line.remove();
    // The list below shows finished downloads as of the page load. No reload while somebody
    // is ticking rows there.
    const over = [...(shown || [])].some((id) => !here.has(id));
    shown = here;
    if (over && !document.querySelector(".action-select:checked")) location.reload();
  });

  onLost((when, sentence) => {
    const banner = root.querySelector("[data-lost]");
    banner.hidden = when === null;
    banner.textContent = when ? sentence : "";
  });
})();
