// A channel's blocks by week. FullCalendar draws and drags them. The server decides the effect of
// a move, may require a confirmation, and may refuse it: then the block returns to its place.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const root = document.querySelector("[data-calendar]");
  const phone = window.matchMedia("(max-width: 640px)");
  const HOUR = 3600_000;
  const DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
  const { request, send, notify } = window.api;
  const title = document.querySelector("[data-title]");
  let dated = [];

  // All times are in the channel's local time. FullCalendar treats them as UTC dates, so nothing
  // here depends on the browser's time zone or its clock changes.
  const loaded = performance.now();
  const begun = Date.parse(`${root.dataset.now}Z`);
  const wallNow = () => new Date(begun + performance.now() - loaded);
  const dayOf = (date) => date.toISOString().slice(0, 10);
  const timeOf = (date) => date.toISOString().slice(11, 16);
  const weekday = (date) => (date.getUTCDay() + 6) % 7;
  const spoken = (date) =>
    date.toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });

  // Resolves to the value of the pressed button; "" for none.
  function choose(heading, text, answers, none = "Cancel") {
    const dialog = document.querySelector("[data-question]");
    document.getElementById("question-title").textContent = heading;
    document.getElementById("question-text").textContent = text;
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

  // ---- display

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

  const COLOURS = 8; // as in streams/templatetags/programme.py

  function eventOf(one) {
    const details = [one.start === "hard" ? "Cuts in" : "Waits for the item's end"];
    if (one.fit) details.push("ends on time");
    if (one.priority) details.push(`priority ${one.priority}`);
    const monday = dayOf(mondayOf(new Date(one.day)));
    return {
      id: `${one.block_id}-${one.day}`,
      title: one.name,
      start: one.begins,
      end: one.ends,
      url: root.dataset.form && `${root.dataset.form.replace("/0/", `/${one.block_id}/`)}?calendar=${monday}`,
      classNames: [`cal-${one.block_id % COLOURS}`, ...(one.clashes ? ["cal-clash"] : [])],
      editable: Boolean(root.dataset.may),
      extendedProps: { block: one.block_id, day: one.day, details: details.join(", "), clashes: one.clashes, seen: one.seen },
    };
  }

  async function events(info, done, failed) {
    const query = new URLSearchParams({ first: info.startStr.slice(0, 10), last: info.endStr.slice(0, 10) });
    try {
      const week = await request(`${root.dataset.channel}/calendar?${query}`);
      list(document.querySelector("[data-overlaps]"), week.overlaps);
      const clock = document.querySelector("[data-clock]");
      clock.hidden = !week.clock_changes.length;
      clock.textContent = week.clock_changes.join(" ");
      dated = week.dated;
      done(week.occurrences.map(eventOf));
    } catch (error) {
      notify("bad", error.sentences);
      failed(error);
    }
  }

  // Times with seconds unless they are zero. FullCalendar has a single format, and splits events at
  // midnight.
  const shownTime = (date) => date.toISOString().slice(11, date.getUTCSeconds() ? 19 : 16);
  function times({ event, isStart, isEnd, timeText }) {
    const exact = isStart && isEnd && event.end && (event.start.getUTCSeconds() || event.end.getUTCSeconds());
    return exact ? `${shownTime(event.start)} - ${shownTime(event.end)}` : timeText;
  }

  function content(shown) {
    const { event } = shown;
    const { details, clashes } = event.extendedProps;
    const parts = [["cal-name", event.title], ["cal-time", times(shown)], ["cal-details", details]];
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

  // The server renders the list below the calendar: fetch it again.
  async function redrawn() {
    calendar.refetchEvents();
    try {
      const answer = await fetch(location.href, { credentials: "same-origin" });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const there = page.querySelector("[data-blocks]");
      if (there) document.querySelector("[data-blocks]").replaceWith(there);
    } catch {
      notify("warn", ["The list of blocks may be outdated. Reload the page."]);
    }
  }

  // ---- changes

  // Requests in progress, including redrawing.
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
    const move = (confirmed) => send("POST", `/api/v1/blocks/${block}/move`, {
      day, seen, starts_by: startsBy / 1000, ends_by: endsBy / 1000, confirmed,
    });
    try {
      let answer;
      try {
        answer = await move(false);
      } catch (question) {
        if (question.kind !== "unconfirmed") throw question;
        if (!(await choose("All its days change", question.message, [["yes", "Change all its days"]]))) {
          info.revert();
          return;
        }
        answer = await move(true);
      }
      notify("good", [answer.detail]);
    } catch (error) {
      notify("bad", error.sentences);
      info.revert();
    }
  }

  async function drawn(info) {
    calendar.unselect();
    const add = new URL(root.dataset.add, location.href);
    if (info.end - info.start > 24 * HOUR) {
      notify("warn", ["A block lasts 24 hours at most."]);
      return;
    }
    const day = weekday(info.start);
    const times = `${timeOf(info.start)} to ${timeOf(info.end)}`;
    const answer = await choose(`A block from ${times}`, `Drawn on ${spoken(info.start)}. On which days?`, [
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
      // The list view does not support dragging or drawing.
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
  // Opening or closing the sidebar changes the width without a window event.
  new ResizeObserver(() => calendar.updateSize()).observe(root.parentElement);

  for (const button of document.querySelectorAll("[data-turn]")) {
    button.addEventListener("click", () => calendar[button.dataset.turn]());
  }
  for (const button of document.querySelectorAll("[data-view]")) {
    button.addEventListener("click", () => calendar.changeView(button.dataset.view));
  }

  // ---- copying a week

  const copyDialog = document.querySelector("[data-copy-dialog]");
  function mondayOf(date) {
    return new Date(date.getTime() - weekday(date) * 24 * HOUR);
  }
  document.querySelector("[data-copy]")?.addEventListener("click", () => {
    const monday = mondayOf(calendar.getDate());
    const named = dated.map((name) => `“${name}”`).join(", ");
    document.querySelector("[data-copy-text]").textContent = dated.length
      ? `Copies ${named}: the blocks whose dates are within this week. Blocks without dates recur in every week.`
      : "No block has dates within this week, so there is nothing to copy. Blocks without dates recur in every week.";
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
    const { value: to } = copyDialog.querySelector("[name=to]");
    try {
      const { blocks } = await send("POST", `${root.dataset.channel}/copy-week`, { week, to });
      const count = `${blocks.length} block${blocks.length === 1 ? "" : "s"} copied.`;
      notify("good", [blocks.length ? count : "All blocks exist in that week already."]);
      calendar.gotoDate(dayOf(mondayOf(new Date(to))));
      redrawn();
    } catch (error) {
      notify("bad", error.sentences);
    }
  });
});
