// Shows the progress of running downloads. streams/source.js receives the figures.
"use strict";

(() => {
  const { onReport, onLost } = window.streamsite;
  const root = document.querySelector("[data-downloads]");
  const list = root.querySelector("[data-jobs]");
  const may = list.dataset.may === "yes";
  let shown = new Set([...list.children].map((line) => line.dataset.id));

  function button(text, kind, address, id) {
    const made = document.createElement("button");
    made.type = "submit";
    made.className = `sx-button ${kind}`;
    made.textContent = text;
    made.formAction = address.replace("/0/", `/${id}/`);
    return made;
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
    const state = `${job.can_retry} ${job.cancelling}`;
    if (!may || place.dataset.for === state) return;
    place.dataset.for = state;
    const made = [];
    if (job.can_retry) made.push(button("Try now", "", list.dataset.retry, job.id));
    const cancel = button("Cancel", "sx-stop", list.dataset.cancel, job.id);
    cancel.disabled = job.cancelling;
    made.push(cancel);
    place.replaceChildren(...made);
  }

  function draw(made, job) {
    const [title, place, bar, words] = made.children;
    title.textContent = job.title;
    tools(place, job);
    // A step without progress has an indeterminate bar, not one that stands still.
    if (job.moving) bar.removeAttribute("value");
    else bar.value = job.percent;
    const parts = [
      job.cancelling ? "Cancelling" : job.percent ? `${job.label} ${job.percent} %` : job.label,
      job.size,
      job.speed,
      job.left && `${job.left} left`,
    ];
    words.textContent = `${parts.filter(Boolean).join(", ")}. ${job.note}`;
    made.dataset.status = job.status;
  }

  onReport(({ jobs }) => {
    const rows = new Map([...list.children].map((line) => [line.dataset.id, line]));
    for (const job of jobs) {
      const id = String(job.id);
      if (!rows.has(id) || rows.get(id).children.length < 4) {
        const made = row(job);
        rows.get(id)?.replaceWith(made);
        if (!made.isConnected) list.append(made);
        rows.set(id, made);
      }
      draw(rows.get(id), job);
    }
    const here = new Set(jobs.map((job) => String(job.id)));
    for (const [id, line] of rows) if (!here.has(id)) line.remove();
    // The list below shows finished downloads as of the page load. No reload while somebody
    // is ticking rows there.
    const over = [...shown].some((id) => !here.has(id));
    shown = here;
    if (over && !document.querySelector(".action-select:checked")) location.reload();
  });

  onLost((when, sentence) => {
    const banner = root.querySelector("[data-lost]");
    banner.hidden = when === null;
    banner.textContent = when ? sentence : "";
  });
})();
