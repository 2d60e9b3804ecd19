// The page of `gemhook dev`. Whatever comes from outside becomes text by textContent; nothing becomes HTML.
"use strict";

const byId = (id) => document.getElementById(id);
const deliveries = new Map();
// When a delivery last changed before our eyes: a list that was asked for earlier may show it as it was.
const changed = new Map();
const MAX_ROWS = 2000;
let jobs = [];
let asked = 0;

// As the program escapes it for a terminal: what has no shape, or turns the text beside it around.
const unsafe = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
const plain = (text) => String(text).replace(unsafe, (char) => `\\u{${char.codePointAt(0).toString(16)}}`);

function make(tag, text, more = {}) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = plain(text);
  for (const [name, value] of Object.entries(more)) element.setAttribute(name, value);
  return element;
}

const time = (at) => (typeof at === "number" ? new Date(at).toISOString().replace("T", " ").slice(0, 19) : "-");
const end = (row) => (row.outcome ? `${row.state}/${row.outcome}` : row.state ?? "-");
const jobOf = (row) => row.job ?? row.job_id ?? row.job_hint ?? "-";
// For the shell, whatever the text holds.
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const to = (view, id) => `#/${view}/${encodeURIComponent(id)}`;

const VIEWS = {
  deliveries: {
    heading: "Deliveries",
    none: "No delivery yet. Send one: gemhook trigger --job batch",
    columns: ["Received (UTC)", "End", "Type", "Job", "Attempt", "Id", "Last error"],
    rows: () => [...deliveries.values()].sort((one, other) => other.received_at - one.received_at),
    cells: (row) => [time(row.received_at), end(row), row.event_type ?? "-", jobOf(row), row.attempt, row.webhook_id,
      row.last_error ?? ""],
    id: (row) => row.webhook_id,
    link: 5,
  },
  jobs: {
    heading: "Jobs",
    none: "No job has ended yet.",
    columns: ["Ended (UTC)", "State", "Kind", "Job", "Requests", "Model"],
    rows: () => jobs,
    cells: (row) => [time(row.ended_at), row.state ?? "-", row.kind ?? "-", row.job_id,
      row.summary ? `${row.summary.succeeded}/${row.summary.requests}` : "-", row.model ?? "-"],
    id: (row) => row.job_id,
    link: 3,
  },
};

async function ask(path) {
  const answer = await fetch(path);
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error ?? `status ${answer.status}`);
  return told;
}

function place() {
  const [, view, id] = /^#\/(deliveries|jobs)(?:\/(.+))?$/.exec(location.hash) ?? [];
  return { view: view ?? "deliveries", id: id === undefined ? undefined : decodeURIComponent(id) };
}

function showList(name) {
  const view = VIEWS[name];
  const wanted = byId("search").value.toLowerCase();
  byId("heading").textContent = view.heading;
  byId("columns").replaceChildren(...view.columns.map((column) => make("th", column, { scope: "col" })));
  const lines = view.rows().map((row) => [row, view.cells(row)])
    .filter(([, cells]) => cells.join(" ").toLowerCase().includes(wanted))
    .map(([row, cells]) => {
      const line = make("tr");
      cells.forEach((cell, at) => {
        const field = make("td", at === view.link ? undefined : cell, { "data-name": view.columns[at] });
        if (at === view.link) field.append(make("a", cell, { href: to(name, view.id(row)) }));
        if (at === 1 && String(cell).startsWith("failed")) field.className = "bad";
        line.append(field);
      });
      return line;
    });
  byId("rows").replaceChildren(...lines);
  byId("none").hidden = lines.length > 0;
  byId("none").textContent = wanted ? "Nothing matches." : view.none;
}

function fields(of) {
  const table = make("table");
  const body = make("tbody");
  for (const [name, value] of Object.entries(of)) {
    const line = make("tr");
    const isTime = /_(at|until|time)$/.test(name) && typeof value === "number";
    const shown = isTime ? time(name === "expires_at" ? value * 1000 : value)
      : typeof value === "object" ? JSON.stringify(value) : value;
    line.append(make("th", name, { scope: "row" }), make("td", shown, { "data-name": name }));
    body.append(line);
  }
  table.append(body);
  return table;
}

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return undefined; }
}

function timeline(changes) {
  const list = make("ol");
  let before;
  for (const { at, change } of changes) {
    const wait = before === undefined ? "" : ` after ${((at - before) / 1000).toFixed(1)} s`;
    const why = change.last_error ? `: ${change.last_error}` : "";
    const item = make("li", `${time(at)}  ${end(change)}, attempt ${change.attempt}${wait}${why}`);
    if (change.state === "failed") item.className = "bad";
    list.append(item);
    before = at;
  }
  return list;
}

function deliveryStory({ row, job, changes }) {
  const { body, body_base64, headers, ...rest } = row;
  const parts = [make("h2", `Delivery ${row.webhook_id}`), make("p", `${end(row)}, ${row.event_type ?? "no type"}`)];
  parts.push(make("h3", "What happened"));
  parts.push(changes.length ? timeline(changes) : make("p", "It ended before this page was served."));
  parts.push(make("h3", "How it was verified"));
  parts.push(make("p", `By ${row.scheme ?? "-"} with the key ${row.key_id ?? "-"}; it counts as sent by ${row.trust ?? "-"}.`));
  if (headers) parts.push(make("h3", "Headers"), fields(headers));
  const read = body === undefined ? undefined : pretty(body);
  if (read !== undefined) parts.push(make("h3", "Body"), make("pre", read, { tabindex: 0 }));
  parts.push(make("h3", body === undefined ? "Body in base64" : "Body as it came"));
  parts.push(make("pre", body ?? body_base64 ?? "", { tabindex: 0 }));
  parts.push(make("h3", "Row"), fields(rest));
  if (job) {
    const link = make("p");
    link.append(make("a", job.job_id, { href: to("jobs", job.job_id) }));
    parts.push(make("h3", "Job"), link);
  }
  parts.push(make("h3", "Commands"));
  parts.push(make("pre", `gemhook replay ${quoted(row.webhook_id)} --new-id\ngemhook deliveries redrive ${quoted(row.webhook_id)}`,
    { tabindex: 0 }));
  return parts;
}

function jobStory(row) {
  const { outputs, summary, text, ...rest } = row;
  const parts = [make("h2", `Job ${row.job_id}`), make("p", `${row.state ?? "-"}`)];
  if (summary) parts.push(make("h3", "Sums"), fields(summary));
  if (text) parts.push(make("h3", "Text"), make("pre", text, { tabindex: 0 }));
  for (const output of outputs ?? []) parts.push(make("h3", `Output ${output.key}`), fields(output));
  parts.push(make("h3", "Row"), fields(rest));
  parts.push(make("h3", "Commands"), make("pre", `gemhook jobs fetch ${quoted(row.job_id)}`, { tabindex: 0 }));
  return parts;
}

// `moved` says that a person went there, so that the reading begins there.
async function show(moved) {
  const { view, id } = place();
  const mine = ++asked;
  document.title = id === undefined ? "gemhook dev" : `${plain(id)} - gemhook dev`;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#/${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    if (id === undefined) {
      if (view === "jobs") jobs = await ask("api/jobs");
      if (mine !== asked) return;
      showList(view);
    } else {
      const told = await ask(`api/${view}/${encodeURIComponent(id)}`);
      if (mine !== asked) return;
      byId("story").replaceChildren(...(view === "jobs" ? jobStory(told) : deliveryStory(told)));
    }
  } catch (error) {
    if (mine !== asked) return;
    byId("story").replaceChildren(make("h2", "It cannot be shown"), make("p", error.message));
    byId("list").hidden = true;
    byId("story").hidden = false;
    return;
  }
  byId("list").hidden = id !== undefined;
  byId("story").hidden = id === undefined;
  if (moved) byId("main").focus();
}

let due;
// Many changes at once are shown once.
function showSoon() {
  due ??= setTimeout(() => { due = undefined; show(false); }, 100);
}

function keep(row) {
  deliveries.set(row.webhook_id, row);
  if (deliveries.size > MAX_ROWS) deliveries.delete(deliveries.keys().next().value);
}

async function reload() {
  const begun = performance.now();
  try {
    // Oldest first, as they would have come.
    for (const row of (await ask("api/deliveries")).reverse()) {
      if ((changed.get(row.webhook_id) ?? -1) < begun) keep(row);
    }
    byId("live").textContent = "live";
  } catch (error) {
    byId("live").textContent = plain(error.message);
  }
  showSoon();
}

const live = new EventSource("api/changes");
live.addEventListener("open", reload);
live.addEventListener("lagged", reload);
live.addEventListener("error", () => { byId("live").textContent = "not connected: is gemhook dev running?"; });
live.addEventListener("change", (event) => {
  const { change } = JSON.parse(event.data);
  changed.set(change.webhook_id, performance.now());
  if (changed.size > MAX_ROWS) changed.delete(changed.keys().next().value);
  keep(change);
  const { view, id } = place();
  if (id === undefined || id === change.webhook_id || view === "jobs") showSoon();
});
byId("search").addEventListener("input", () => showList(place().view));
// The address says what is shown, so a jump within the page must not change it.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
addEventListener("hashchange", () => show(true));
show(false);
