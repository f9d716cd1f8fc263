// Passkeys: <button data-passkey="/path/"> gets the browser's options by a POST without a body,
// and sends the browser's answer there. `data-new` makes a passkey, otherwise one is shown.
"use strict";

(() => {
  const token = () => document.querySelector("[name=csrfmiddlewaretoken]").value;
  const fault = document.querySelector("[data-passkey-fault]");

  async function post(path, body) {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "X-CSRFToken": token(), "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const fields = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(fields.detail || `The server answers ${answer.status}. Try again.`);
    return fields;
  }

  async function use(button) {
    if (!window.PublicKeyCredential?.parseCreationOptionsFromJSON) {
      throw new Error("This browser offers passkeys only over HTTPS, or in a newer version.");
    }
    const path = button.dataset.passkey;
    const options = await post(path);
    const made = "new" in button.dataset
      ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) })
      : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
    const name = document.querySelector("[data-passkey-name]")?.value || "";
    const body = "new" in button.dataset ? { ...made.toJSON(), name } : made.toJSON();
    window.location.assign((await post(path, body)).next);
  }

  for (const button of document.querySelectorAll("[data-passkey]")) {
    button.addEventListener("click", async () => {
      button.disabled = true;
      fault.hidden = true;
      try {
        await use(button);
      } catch (error) {
        // NotAllowedError: the user has closed the browser's question, or waited too long.
        fault.textContent = error.name === "NotAllowedError" ? "The browser showed no passkey: try again." : error.message;
        fault.hidden = false;
        button.disabled = false;
      }
    });
  }
})();
