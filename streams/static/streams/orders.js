// Start, stop, restart and skip without leaving the page. Without this file the buttons post
// their form, and the server shows a confirmation page.
"use strict";

(() => {
  const { refresh } = window.streamsite;
  const dialog = document.getElementById("sx-dialog");
  const messages = document.querySelector("[data-messages]");

  function notify(kind, sentences) {
    const note = document.createElement("div");
    note.className = `sx-note sx-note-${kind}`;
    for (const sentence of sentences) {
      const line = document.createElement("p");
      line.textContent = sentence;
      note.append(line);
    }
    const close = document.createElement("button");
    close.type = "button";
    close.textContent = "×";
    close.setAttribute("aria-label", "Close this message");
    close.addEventListener("click", () => note.remove());
    note.append(close);
    messages.replaceChildren(note);
    // A success message disappears by itself; an error stays until it is closed.
    if (kind === "good") setTimeout(() => note.remove(), 6000);
  }

  // The calendar shows its messages in the same place.
  window.streamsite.notify = notify;

  async function send(button) {
    const token = button.form.querySelector("[name=csrfmiddlewaretoken]").value;
    button.disabled = true;
    try {
      const answer = await fetch(button.formAction, {
        method: "POST",
        headers: { Accept: "application/json", "X-CSRFToken": token },
        body: new URLSearchParams({ confirmed: "1", ...(button.name && { [button.name]: button.value }) }),
        credentials: "same-origin",
      });
      const body = await answer.json();
      notify(answer.ok ? "good" : answer.status === 422 ? "bad" : "warn", body.findings || [body.detail]);
    } catch {
      notify("bad", ["The server did not answer. Check the state before you try again."]);
    } finally {
      button.disabled = false;
      refresh();
    }
  }

  function confirmed(button) {
    document.getElementById("sx-dialog-title").textContent = button.dataset.title;
    document.getElementById("sx-dialog-cost").textContent = button.dataset.cost;
    const yes = dialog.querySelector("[data-answer=yes]");
    yes.textContent = button.textContent;
    dialog.returnValue = "no";
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    });
  }

  for (const answer of dialog?.querySelectorAll("[data-answer]") || []) {
    answer.addEventListener("click", () => dialog.close(answer.dataset.answer));
  }
  // A click outside the dialog cancels it.
  dialog?.addEventListener("click", (event) => event.target === dialog && dialog.close("no"));

  document.addEventListener("submit", async (event) => {
    const button = event.submitter;
    if (!button?.dataset.verb || !dialog || !messages) return;
    event.preventDefault();
    if (!button.dataset.cost || (await confirmed(button))) await send(button);
  });
})();
