// A list of checkboxes, with one that ticks all or none.
"use strict";

(() => {
  const all = document.querySelector("[data-all]");
  const boxes = [...document.querySelectorAll("[name=entry]")];
  const allTicked = () => boxes.every((box) => box.checked);
  all.checked = allTicked();
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
  });
  for (const box of boxes) {
    box.addEventListener("change", () => {
      all.checked = allTicked();
    });
  }
})();
