// Shared by the library's pages: requests to the server, and formatting.
"use strict";

window.library = (() => {
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

  // Returns the answer's JSON, or throws an error with a sentence for the operator. It is
  // `passing` if a retry may succeed, `hopeless` if no retry can.
  async function request(url, options = {}) {
    let answer;
    try {
      answer = await fetch(url, {
        credentials: "same-origin",
        cache: "no-store",
        ...options,
        headers: { Accept: "application/json", ...options.headers },
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw Object.assign(new Error("The server does not answer. Try again."), { passing: true });
    }
    let body = {};
    try {
      body = await answer.json();
    } catch {
      // An error page has no JSON: the status has to suffice.
    }
    if (answer.ok) return body;
    const sentence = answer.status === 401 ? "You are no longer logged in: log in again in another tab, then try again."
      : body.detail || `The server answers ${answer.status}. Try again.`;
    throw Object.assign(new Error(sentence), { status: answer.status, passing: answer.status >= 500, hopeless: body.hopeless === true });
  }

  const token = () => document.querySelector("[name=csrfmiddlewaretoken]").value;
  const post = (url, body) => request(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRFToken": token() },
    body: JSON.stringify(body),
  });

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
    if (item.thumb) frame.append(make("img", { src: item.thumb, alt: "", loading: "lazy", decoding: "async", draggable: false }));
    return frame;
  }

  // Elements that show an item, for the picker and the order.
  function about(item) {
    const title = make("span", { className: "lib-title", title: item.title }, item.title);
    const where = make("span", { className: "lib-key" }, item.folder);
    const text = make("span", { className: "lib-about" }, title, where);
    if (item.status !== "ready") {
      const state = make("span", { className: "lib-state", dataset: { status: item.status } }, make("b", {}, item.label));
      if (item.fault) state.append(" ", make("span", { className: "lib-fault" }, item.fault));
      text.append(state);
    }
    return [thumb(item), text, make("span", { className: "sx-figure" }, length(item.seconds))];
  }

  // Otherwise the theme writes the file's name into the form's first text field.
  for (const form of document.querySelectorAll("form.lib-form[enctype]")) {
    form.addEventListener("change", (event) => event.target.type === "file" && event.stopPropagation(), true);
  }

  return { NOTHING, length, size, request, post, token, make, about };
})();
