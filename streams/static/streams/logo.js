// Replaces or removes a channel's logo. A refused file stays chosen.
"use strict";

(() => {
  const { request, leave } = window.api;
  const root = document.querySelector("[data-logo]");
  const file = root.querySelector("[data-logo-file]");
  const fault = root.querySelector("[data-logo-error]");

  function on(selector, work) {
    root.querySelector(selector)?.addEventListener("click", async ({ target }) => {
      target.disabled = true;
      fault.hidden = true;
      try {
        leave(await work());
      } catch (error) {
        fault.textContent = error.message;
        fault.hidden = false;
        target.disabled = false;
      }
    });
  }

  on("[data-logo-put]", async () => {
    const [chosen] = file.files;
    if (!chosen) throw new Error("Choose a PNG file first.");
    await request(root.dataset.logo, { method: "PUT", body: chosen, headers: { "Content-Type": "image/png" } });
    return "The logo is stored. All items are prepared again.";
  });
  on("[data-logo-remove]", async () => {
    await request(root.dataset.logo, { method: "DELETE" });
    return "The logo is removed.";
  });
})();
