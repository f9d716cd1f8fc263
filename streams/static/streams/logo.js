// Replaces or removes a channel's logo, without touching the form above: its edits stay, and so
// does the choice of a refused file.
"use strict";

(() => {
  const { request, notify } = window.api;
  const root = document.querySelector("[data-logo]");
  const part = (name) => root.querySelector(`[data-logo-${name}]`);
  const file = part("file");
  const fault = part("error");
  const image = root.querySelector("img");

  function show(chosen) {
    if (chosen) image.src = URL.createObjectURL(chosen);
    image.hidden = part("remove").hidden = !chosen;
    part("put").textContent = chosen ? "Replace the logo" : "Add the logo";
    file.value = "";
  }

  function on(name, work) {
    part(name).addEventListener("click", async ({ target }) => {
      target.disabled = true;
      fault.hidden = true;
      try {
        notify("good", [await work()]);
      } catch (error) {
        fault.textContent = error.message;
        fault.hidden = false;
      } finally {
        target.disabled = false;
      }
    });
  }

  on("put", async () => {
    const [chosen] = file.files;
    if (!chosen) throw new Error("Choose a PNG file first.");
    await request(root.dataset.logo, { method: "PUT", body: chosen, headers: { "Content-Type": "image/png" } });
    show(chosen);
    return "The logo is stored. All items are prepared again.";
  });
  on("remove", async () => {
    await request(root.dataset.logo, { method: "DELETE" });
    show(null);
    return "The logo is removed. All items are prepared again.";
  });
})();
