// Start, stop, restart and skip without leaving the page. Without this file the buttons post
// their form, and the server shows a confirmation page.
"use strict";

(() => {
  const { refresh } = window.streamsite;
  const { send, notify } = window.api;
  const dialog = document.getElementById("sx-dialog");
  const messages = document.querySelector("[data-messages]");

  async function order(button) {
    const { channelSlug, verb, broadcaster } = button.dataset;
    button.disabled = true;
    try {
      const answer = await send("POST", `/api/v1/channels/${channelSlug}/${verb}`, broadcaster ? { broadcaster_id: Number(broadcaster) } : {});
      notify("good", [answer.detail]);
    } catch (error) {
      const unclear = error.status ? [] : ["Check the state before you try again."];
      notify(error.status === 404 || error.status === 409 ? "warn" : "bad", [...error.sentences, ...unclear]);
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
    if (!button.dataset.cost || (await confirmed(button))) await order(button);
  });
})();
