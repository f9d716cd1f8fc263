// A channel's blocks, week by week. FullCalendar draws and drags; the server decides what a move
// means, asks back where it means more than it seems, and may refuse: then the block goes back.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const root = document.querySelector("[data-calendar]");
  const phone = window.matchMedia("(max-width: 640px)");
  const HOUR = 3600_000;
  const DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
  const { tell } = window.streamsite;
  const title = document.querySelector("[data-title]");
  let dated = [];

  // All times are the channel's wall clock. FullCalendar takes them as they are and keeps them
  // in dates of UTC, so nothing here depends on the browser's own zone or its changes.
  const loaded = performance.now();
  const begun = Date.parse(`${root.dataset.now}Z`);
  const wallNow = () => new Date(begun + performance.now() - loaded);
  const dayOf = (date) => date.toISOString().slice(0, 10);
  const timeOf = (date) => date.toISOString().slice(11, 16);
  const weekday = (date) => (date.getUTCDay() + 6) % 7;
  const spoken = (date) =>
    date.toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });

  async function post(url, body) {
    const token = document.querySelector("[data-token] [name=csrfmiddlewaretoken]").value;
    try {
      const answer = await fetch(url, {
        method: "POST",
        headers: { Accept: "application/json", "Content-Type": "application/json", "X-CSRFToken": token },
        body: JSON.stringify(body),
        credentials: "same-origin",
      });
      return { ok: answer.ok, said: await answer.json() };
    } catch {
      return { ok: false, said: { detail: "The server did not answer: nothing is known to be changed." } };
    }
  }

  // Resolves to the value of the button that was pressed; "" for none.
  function ask(heading, text, answers, none = "Leave it as it is") {
    const dialog = document.querySelector("[data-ask]");
    document.getElementById("ask-title").textContent = heading;
    document.getElementById("ask-text").textContent = text;
    const buttons = [["", none], ...answers].map(([value, label]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sx-button";
      button.textContent = label;
      button.dataset.answer = value;
      button.addEventListener("click", () => dialog.close(value));
      return button;
    });
    dialog.querySelector(".sx-dialog-buttons").replaceChildren(...buttons);
    dialog.returnValue = "";
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
    });
  }

  // ---- what is shown

  function list(element, sentences) {
    element.hidden = !sentences.length;
    element.querySelector("ul").replaceChildren(
      ...sentences.map((sentence) => {
        const line = document.createElement("li");
        line.textContent = sentence;
        return line;
      }),
    );
  }

  async function events(info, done, failed) {
    const query = new URLSearchParams({ start: info.startStr.slice(0, 10), end: info.endStr.slice(0, 10) });
    try {
      const answer = await window.streamsite.get(`${root.dataset.events}?${query}`);
      const told = await answer.json();
      list(document.querySelector("[data-overlaps]"), told.overlaps);
      const clock = document.querySelector("[data-clock]");
      clock.hidden = !told.clock.length;
      clock.textContent = told.clock.join(" ");
      dated = told.dated;
      done(told.events);
    } catch (error) {
      tell("bad", [error.name === "Error" ? error.message : "The server doesn't answer."]);
      failed(error);
    }
  }

  // With seconds where there are any. FullCalendar has one form for all, and cuts what lies over
  // midnight in two.
  const shownTime = (date) => date.toISOString().slice(11, date.getUTCSeconds() ? 19 : 16);
  function times({ event, isStart, isEnd, timeText }) {
    const exact = isStart && isEnd && event.end && (event.start.getUTCSeconds() || event.end.getUTCSeconds());
    return exact ? `${shownTime(event.start)} - ${shownTime(event.end)}` : timeText;
  }

  function content(shown) {
    const { event } = shown;
    const { told, clashes } = event.extendedProps;
    const parts = [["cal-name", event.title], ["cal-time", times(shown)], ["cal-told", told]];
    if (clashes) parts.unshift(["cal-warn", "Overlap"]);
    return {
      domNodes: parts.filter(([, text]) => text).map(([name, text]) => {
        const part = document.createElement("span");
        part.className = name;
        part.textContent = text;
        return part;
      }),
    };
  }

  // The list below the calendar is the server's: it draws it anew.
  async function redrawn() {
    calendar.refetchEvents();
    try {
      const answer = await fetch(location.href, { credentials: "same-origin" });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const there = page.querySelector("[data-blocks]");
      if (there) document.querySelector("[data-blocks]").replaceWith(there);
    } catch {
      tell("warn", ["The list of blocks may be out of date: load the page again."]);
    }
  }

  // ---- what is changed

  // What is asked of the server and not yet drawn.
  let pending = 0;
  function busy(on) {
    pending += on ? 1 : -1;
    root.setAttribute("aria-busy", String(pending > 0));
  }

  async function moved(info, startsBy, endsBy) {
    busy(true);
    await change(info, startsBy, endsBy);
    await redrawn();
    busy(false);
  }

  async function change(info, startsBy, endsBy) {
    const { block, day, seen } = info.event.extendedProps;
    const wanted = { block, day, seen, starts_by: startsBy / 1000, ends_by: endsBy / 1000 };
    let { ok, said } = await post(root.dataset.move, wanted);
    if (ok && said.ask) {
      if (!(await ask("All its days change", said.ask, [["yes", "Change all its days"]]))) {
        info.revert();
        return;
      }
      ({ ok, said } = await post(root.dataset.move, { ...wanted, confirmed: true }));
    }
    tell(ok ? "good" : "bad", [said.detail]);
    if (!ok) info.revert();
  }

  async function drawn(info) {
    calendar.unselect();
    const add = new URL(root.dataset.add, location.href);
    if (info.end - info.start > 24 * HOUR) {
      tell("warn", ["A block lasts 24 hours at most."]);
      return;
    }
    const day = weekday(info.start);
    const times = `${timeOf(info.start)} to ${timeOf(info.end)}`;
    const answer = await ask(`A block from ${times}`, `Drawn on ${spoken(info.start)}. On which days?`, [
      ["once", `Only on ${spoken(info.start)}`],
      ["weekly", `Every ${DAYS[day]}`],
      ["daily", "Every day"],
    ], "Cancel");
    if (!answer) return;
    const fields = { starts: timeOf(info.start), ends: timeOf(info.end), calendar: dayOf(calendar.getDate()) };
    fields.days = answer === "daily" ? 127 : 1 << day;
    if (answer === "once") fields.first_day = fields.last_day = dayOf(info.start);
    for (const [name, value] of Object.entries(fields)) add.searchParams.set(name, value);
    location.assign(add);
  }

  const calendar = new FullCalendar.Calendar(root, {
    timeZone: "UTC",
    locale: "en-gb",
    firstDay: 1,
    headerToolbar: false,
    initialView: phone.matches ? "listWeek" : "timeGridWeek",
    initialDate: root.dataset.week === dayOf(wallNow()) ? wallNow() : root.dataset.week,
    now: wallNow,
    nowIndicator: true,
    allDaySlot: false,
    height: "auto",
    slotDuration: "01:00:00",
    snapDuration: "00:15:00",
    slotLabelFormat: { hour: "2-digit", minute: "2-digit", hour12: false },
    eventTimeFormat: { hour: "2-digit", minute: "2-digit", hour12: false },
    dayHeaderFormat: { weekday: "short", day: "numeric", month: "short" },
    listDayFormat: { weekday: "long", day: "numeric", month: "short" },
    listDaySideFormat: false,
    noEventsContent: "No block in this week: the base playlist plays.",
    slotEventOverlap: false,
    eventResizableFromStart: true,
    events,
    loading: busy,
    eventContent: content,
    eventDidMount: (shown) => {
      const cell = shown.el.querySelector(".fc-list-event-time");
      if (cell) cell.textContent = times({ ...shown, timeText: cell.textContent });
    },
    selectable: Boolean(root.dataset.add),
    selectMirror: true,
    selectMinDistance: 5,
    select: drawn,
    datesSet: ({ view }) => {
      title.textContent = view.title;
      // Nothing is dragged or drawn in a list.
      for (const hint of document.querySelectorAll("[data-drag-hint]")) hint.hidden = view.type === "listWeek";
      for (const button of document.querySelectorAll("[data-view]")) {
        button.setAttribute("aria-pressed", button.dataset.view === view.type);
      }
    },
    eventDrop: (info) => {
      const by = info.event.start - info.oldEvent.start;
      moved(info, by, by);
    },
    eventResize: (info) =>
      moved(info, info.event.start - info.oldEvent.start, info.event.end - info.oldEvent.end),
  });
  calendar.render();
  // The menu beside the page comes and goes, which no window tells of.
  new ResizeObserver(() => calendar.updateSize()).observe(root.parentElement);

  for (const button of document.querySelectorAll("[data-turn]")) {
    button.addEventListener("click", () => calendar[button.dataset.turn]());
  }
  for (const button of document.querySelectorAll("[data-view]")) {
    button.addEventListener("click", () => calendar.changeView(button.dataset.view));
  }

  // ---- copies of a week

  const copyDialog = document.querySelector("[data-copy-dialog]");
  function mondayOf(date) {
    return new Date(date.getTime() - weekday(date) * 24 * HOUR);
  }
  document.querySelector("[data-copy]")?.addEventListener("click", () => {
    const monday = mondayOf(calendar.getDate());
    const named = dated.map((name) => `“${name}”`).join(", ");
    document.querySelector("[data-copy-text]").textContent = dated.length
      ? `Copies ${named}: the blocks whose dates lie in this week. Blocks without dates recur and are in the other week anyway.`
      : "No block has its dates inside this week, so there is nothing to copy. Blocks without dates recur and are in every week anyway.";
    document.querySelector(".cal-to").hidden = !dated.length;
    document.querySelector("[data-copy-yes]").hidden = !dated.length;
    copyDialog.querySelector("[name=to]").value = dayOf(new Date(monday.getTime() + 7 * 24 * HOUR));
    copyDialog.returnValue = "";
    copyDialog.showModal();
  });
  document.querySelector("[data-copy-no]").addEventListener("click", () => copyDialog.close(""));
  copyDialog.addEventListener("close", async () => {
    if (copyDialog.returnValue !== "copy") return;
    const week = dayOf(mondayOf(calendar.getDate()));
    const { ok, said } = await post(root.dataset.copyTo, { week, to: copyDialog.querySelector("[name=to]").value });
    tell(ok ? "good" : "bad", [said.detail]);
    if (ok) {
      calendar.gotoDate(said.week);
      redrawn();
    }
  });
});
