// Inspects an address, offers the videos of a list, and orders downloads.
"use strict";

(() => {
  const { request, send, leave } = window.api;
  const { make, length } = window.library;
  const form = document.querySelector("[data-download]");
  const fault = form.querySelector("[data-error]");
  const inspected = form.querySelector("[data-inspected]");
  const { elements } = form;
  let listTitle = null; // of an inspected list

  const words = (name) => elements[name].value.replaceAll(",", " ").split(/\s+/).filter(Boolean);
  const lines = () => elements.urls.value.split("\n").map((line) => line.trim()).filter(Boolean);

  function options() {
    const chosen = { quality: Number(elements.quality.value), languages: words("languages"), translate: words("translate") };
    for (const name of ["container", "sound", "subtitles"]) chosen[name] = elements[name].value;
    for (const name of ["thumbnail", "metadata", "chapters"]) chosen[name] = elements[name].checked;
    return chosen;
  }

  // The boxes of a list, with one that ticks all or none.
  function choices(entries) {
    const boxes = entries.map(({ page }) => make("input", { type: "checkbox", name: "entry", value: page, checked: true }));
    const all = make("input", { type: "checkbox", checked: true, dataset: { all: "" } });
    all.addEventListener("change", () => boxes.forEach((box) => (box.checked = all.checked)));
    for (const box of boxes) box.addEventListener("change", () => (all.checked = boxes.every((other) => other.checked)));
    const line = (box, title, seconds) => make("li", {}, make("label", {}, box, make("span", {}, title), make("small", {}, seconds)));
    return make("ul", { className: "dl-entries" }, line(all, "All", ""),
      ...entries.map((entry, n) => line(boxes[n], entry.title || entry.page, length(entry.seconds))));
  }

  function show(info) {
    const [first] = lines();
    listTitle = info.playlist ? info.title : null;
    const parts = [make("h2", {}, info.title || first)];
    if (info.playlist) {
      const count = info.count ? ` of ${info.count}` : "";
      parts.push(make("p", { className: "sx-small" }, `A list${count}: ${info.entries.length} videos are shown. Untick those that you don't want.`), choices(info.entries));
    } else {
      const facts = [info.extractor, info.uploader, length(info.seconds), info.heights[0] && `up to ${info.heights[0]}p`, info.licence && `licence: ${info.licence}`];
      parts.push(make("p", {}, facts.filter(Boolean).join(", ")));
      if (info.subtitles.length) parts.push(make("p", { className: "sx-small" }, `Subtitles: ${info.subtitles.join(", ")}`));
    }
    inspected.replaceChildren(...parts);
    inspected.hidden = false;
  }

  async function order() {
    // Ticked videos of a list precede the addresses above.
    const ticked = [...form.querySelectorAll("[name=entry]:checked")].map(({ value }) => value);
    if (listTitle !== null && !ticked.length) throw new Error("No video of the list is ticked: look first, and choose.");
    const urls = ticked.length ? ticked : lines();
    if (!urls.length) throw new Error("Type at least one address.");
    const name = (ticked.length && listTitle) || "";
    const { jobs } = await send("POST", "/api/v1/download/batch", {
      ...options(), urls, name: name.slice(0, 255), rights: elements.rights.value, again: elements.again.checked,
    });
    leave(`${jobs.length} download${jobs.length === 1 ? "" : "s"} ordered.`, form.dataset.list);
  }

  async function look() {
    const [first] = lines();
    if (!first) throw new Error("Type at least one address.");
    show(await request(`/api/v1/info?${new URLSearchParams({ url: first, cap: elements.cap.value })}`));
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { submitter } = event;
    submitter.disabled = true;
    fault.hidden = true;
    try {
      await (submitter.name === "look" ? look() : order());
    } catch (error) {
      fault.textContent = error.message;
      fault.hidden = false;
    } finally {
      submitter.disabled = false;
    }
  });
})();
