// Shared by the library's pages: formatting, and the elements of an item.
"use strict";

window.library ??= (() => {
  const NOTHING = "–";
  const two = (value) => String(value).padStart(2, "0");

  // As in media_library/formatting.py.
  function length(seconds) {
    if (seconds === null || seconds === undefined) return NOTHING;
    const total = Math.max(0, Math.round(seconds));
    const [second, minute, hour] = [total % 60, Math.floor(total / 60) % 60, Math.floor(total / 3600)];
    return hour ? `${hour}:${two(minute)}:${two(second)}` : `${minute}:${two(second)}`;
  }
  function size(bytes) {
    if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
    return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB` : `${Math.round(bytes / 1e3)} kB`;
  }

  // Creates an element: make("li", {className: "a", onclick: f}, "text", another)
  function make(tag, properties = {}, ...inside) {
    const element = document.createElement(tag);
    const { dataset, ...plain } = properties;
    Object.assign(element, plain);
    Object.assign(element.dataset, dataset || {});
    element.append(...inside);
    return element;
  }

  function thumb(item) {
    const frame = make("span", { className: "lib-thumb" });
    if (item.has_thumbnails) frame.append(make("img", { src: `/api/v1/media/${item.item}/thumb.jpg`, alt: "", loading: "lazy", decoding: "async", draggable: false }));
    return frame;
  }

  // The server's label of a status, from the editor's attributes.
  const label = (status) => document.querySelector("[data-editor]").getAttribute(`data-status-${status}`);

  // Elements that show an item, for the picker and the order. `item.item` is its id.
  function about(item) {
    const title = make("span", { className: "lib-title", title: item.title }, item.title);
    const where = make("span", { className: "lib-key" }, item.key.split("/").slice(0, -1).join("/"));
    const text = make("span", { className: "lib-about" }, title, where);
    if (item.status !== "ready") {
      const state = make("span", { className: "lib-state", dataset: { status: item.status } }, make("b", {}, label(item.status)));
      if (item.fault) state.append(" ", make("span", { className: "lib-fault" }, item.fault));
      text.append(state);
    }
    return [thumb(item), text, make("span", { className: "sx-figure" }, length(item.duration_seconds))];
  }

  return { NOTHING, length, size, make, about };
})();
