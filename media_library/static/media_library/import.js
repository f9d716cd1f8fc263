// Imports an M3U or CSV file, and shows the result. The chosen file stays in the form.
"use strict";

(() => {
  const { send } = window.api;
  const form = document.querySelector("[data-import]");
  const result = document.querySelector("[data-outcome]");
  const error = form.querySelector("[data-error]");
  const part = (name) => result.querySelector(`[data-${name}]`);
  const lines = (count) => `${count} line${count === 1 ? "" : "s"}`;

  // Otherwise the theme writes the file's name into the form's first text field.
  form.addEventListener("change", (event) => event.target.type === "file" && event.stopPropagation(), true);

  async function contentOf(file) {
    if (file.size > Number(form.dataset.maxBytes)) throw new Error(`The file is larger than ${form.dataset.maxBytes >> 20} MiB: split it.`);
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    } catch {
      throw new Error("The file is not UTF-8: save it as UTF-8 first.");
    }
  }

  function show(answer, dry) {
    const would = dry ? "would be " : "";
    part("heading").textContent = dry ? "Changes" : "Done";
    part("counts").textContent = `${lines(answer.matched)} matched, ${answer.updated} item${answer.updated === 1 ? "" : "s"} ${would}changed, ${answer.created} ${would}added. `;
    if (answer.entries !== null && answer.playlist_id === null) {
      part("counts").append(`The playlist would get ${answer.entries} from the file.`);
    } else if (answer.entries !== null) {
      const link = Object.assign(document.createElement("a"), {
        className: "sx-watch",
        href: form.dataset.playlist.replace("/0/", `/${answer.playlist_id}/`),
        textContent: answer.playlist_name,
      });
      part("counts").append(link, `: ${answer.entries} from the file.`);
    }
    const { problems } = answer;
    part("skipped").textContent = problems.length ? `Skipped: ${lines(problems.length)}` : "";
    part("problems").replaceChildren(...problems.map(({ line, sentence }) => {
      const item = document.createElement("li");
      item.textContent = line ? `Line ${line}: ${sentence}` : sentence;
      return item;
    }));
    result.hidden = false;
    result.scrollIntoView({ block: "nearest" });
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { file, name, append, dry } = form.elements;
    const target = form.dataset.into ? { into: Number(form.dataset.into) } : { name: name.value };
    event.submitter.disabled = true;
    error.hidden = result.hidden = true;
    try {
      const content = await contentOf(file.files[0]);
      show(await send("POST", "/api/v1/playlists/import", { content, ...target, append: append.checked, dry: dry.checked }), dry.checked);
    } catch (refusal) {
      error.textContent = refusal.message;
      error.hidden = false;
    } finally {
      event.submitter.disabled = false;
    }
  });
})();
