// The pages' requests to the API, with the login's cookie and the CSRF token. A button
// <button data-api="POST /api/v1/..." data-body='{"dry": true}' data-confirm="Sure?"> sends its
// request, and the page is loaded again with the answer's sentence.
"use strict";

(() => {
  if (window.api) return;
  // The cookie's comes first: a login in another tab renews it, and the page's own is refused then.
  const token = () => document.cookie.match(/(?:^|; )csrftoken=([^;]+)/)?.[1] || document.querySelector("[name=csrfmiddlewaretoken]")?.value || "";

  // A wrong field in the words of the page: its label, and its line if it has several values.
  function wrong({ loc: [, name, index], msg }) {
    const label = document.getElementsByName(name)[0]?.labels?.[0]?.textContent.trim() || name;
    const place = index >= 0 ? `${label}, line ${index + 1}` : label;
    const sentence = msg.replace(/^(Input|List|String) should/, "It must").replace(/^Value error, | after validation/, "");
    return place ? `${place}: ${sentence}` : sentence;
  }

  // The problem of an answer as an error. Its message is for the operator, and `sentences` has it
  // in parts; `kind` is the problem's. It is `passing` if a retry may succeed, `hopeless` if none can.
  function failure(status, body) {
    const fields = (body.errors || []).map(wrong);
    const findings = (body.findings || []).map(({ detail }) => detail);
    let sentences = findings.length ? findings : fields.length ? fields : [body.detail || `The server answers ${status}. Try again.`];
    if (status === 401) sentences = ["You are no longer logged in: log in again in another tab, then try again."];
    if (body.type?.endsWith(":csrf")) sentences = ["This page is outdated: reload it, then try again."];
    if (body.type?.endsWith(":permission")) sentences = [`You have no permission to do that. ${body.detail}`];
    return Object.assign(new Error(sentences.join(" ")), {
      status,
      sentences,
      kind: (body.type || "").split(":").at(-1),
      passing: (status >= 500 || status === 429) && body.permanent !== true,
      hopeless: status === 422 || body.permanent === true,
    });
  }

  // Returns the answer's JSON; null if it has none.
  async function request(path, options = {}) {
    let answer;
    try {
      answer = await fetch(path, {
        credentials: "same-origin",
        cache: "no-store",
        ...options,
        headers: { Accept: "application/json", "X-CSRFToken": token(), ...options.headers },
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw Object.assign(new Error("The server does not answer. Try again."), { passing: true, sentences: ["The server does not answer. Try again."] });
    }
    let body = null;
    try {
      body = await answer.json();
    } catch {
      // An answer without content, or an error page: the status has to suffice.
    }
    if (!answer.ok) throw failure(answer.status, body || {});
    return body;
  }

  const send = (method, path, body = {}) => request(path, {
    method,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });

  // Shows sentences above the page's content. A success disappears by itself; an error stays.
  function notify(kind, sentences) {
    let place = document.querySelector("[data-messages]");
    if (!place) {
      place = Object.assign(document.createElement("div"), { className: "sx-messages", role: "status" });
      place.dataset.messages = "";
      document.querySelector(".sx").prepend(place);
    }
    const note = document.createElement("div");
    note.className = `sx-note sx-note-${kind}`;
    for (const sentence of sentences) {
      const line = document.createElement("p");
      line.textContent = sentence;
      note.append(line);
    }
    const close = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
    close.setAttribute("aria-label", "Close this message");
    close.addEventListener("click", () => note.remove());
    note.append(close);
    place.replaceChildren(note);
    if (kind === "good") setTimeout(() => note.remove(), 6000);
  }

  // A sentence for the next page.
  const NEXT = "streamsite-note";
  function leave(sentence, to) {
    sessionStorage.setItem(NEXT, sentence || "Done.");
    if (to) location.assign(to);
    else location.reload();
  }
  addEventListener("DOMContentLoaded", () => {
    const sentence = sessionStorage.getItem(NEXT);
    sessionStorage.removeItem(NEXT);
    if (sentence) notify("good", [sentence]);
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-api]");
    if (!button) return;
    event.preventDefault();
    const { api, body, confirm, done } = button.dataset;
    if (confirm && !window.confirm(confirm)) return;
    button.disabled = true;
    try {
      const answer = await send(...api.split(" "), body && JSON.parse(body));
      leave(done || answer?.detail);
    } catch (error) {
      notify("bad", error.sentences);
      button.disabled = false;
    }
  });

  window.api = { request, send, notify, leave, token };
})();
