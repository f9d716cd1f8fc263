// A list to choose from: one box ticks all of it, or none.
"use strict";

(() => {
  const all = document.querySelector("[data-all]");
  const boxes = [...document.querySelectorAll("[name=entry]")];
  const allTicked = () => boxes.every((box) => box.checked);
  all.checked = allTicked();
  all.addEventListener("change", () => {
    for (const each of boxes) each.checked = all.checked;
  });
  for (const each of boxes) {
    each.addEventListener("change", () => {
      all.checked = allTicked();
    });
  }
})();
