// The lists of deliveries, jobs and announcements: search, filters and rows.

import { badge, byId, link, make, moment } from "./dom.js";
import { ask } from "./api.js";
import { bytes, end, jobOf, mood, shortTime } from "./text.js";

const MAX_ROWS = 2000;
export const deliveries = new Map();
// When a delivery last changed before our eyes: a list that was asked for earlier may show it as it was.
const changed = new Map();
let jobs = [];
let announcements = [];

const size = (row) => (row.outputs ?? []).reduce((sum, output) => sum + output.bytes, 0);
const family = (type) => (type ?? "").split(".")[0];

function sumsOf(row) {
  const { requests, succeeded, tokens_in, tokens_out, samples } = row.summary ?? {};
  const sums = [];
  if (requests !== undefined) sums.push(`${succeeded}/${requests} succeeded`);
  if (samples !== undefined) sums.push(`${samples} ${samples === 1 ? "video" : "videos"}`);
  if (tokens_in !== undefined) sums.push(`${tokens_in + tokens_out} tokens`);
  return sums.join(", ");
}

// Each column: its name, its class, the cell's text, and how it is drawn if not as text.
export const VIEWS = {
  deliveries: {
    heading: "Deliveries",
    none: "No delivery yet. Create a sample job, or run: gemhook trigger --job batch",
    rows: () => [...deliveries.values()].sort((one, other) => other.received_at - one.received_at),
    id: (row) => row.webhook_id,
    state: (row) => end(row),
    kind: (row) => family(row.event_type) || "(no type)",
    columns: [
      ["End", "end", end, (text) => badge(text)],
      ["Type", "type", (row) => row.event_type ?? "(no type)"],
      ["Id", "id", (row) => row.webhook_id, (text) => link("deliveries", text)],
      ["Job", "job", jobOf],
      ["Attempts", "count", (row) => row.attempt],
      ["Last error", "error", (row) => row.last_error ?? ""],
      ["Received (UTC)", "time", (row) => shortTime(row.received_at), (text, row) => moment(row.received_at, text)],
    ],
  },
  jobs: {
    heading: "Jobs",
    none: "No job has ended yet.",
    rows: () => jobs,
    id: (row) => row.job_id,
    state: (row) => row.state ?? "open",
    kind: (row) => row.kind ?? "(open)",
    columns: [
      ["State", "end", (row) => (row.state ?? "open").replace(/^BATCH_STATE_/, "").toLowerCase(), (text) => badge(text)],
      ["Kind", "type", (row) => row.kind ?? ""],
      ["Job", "id", (row) => row.job_id, (text) => link("jobs", text)],
      ["Sums", "sums", sumsOf],
      ["Outputs", "count", (row) => (row.outputs?.length ? `${row.outputs.length}, ${bytes(size(row))}` : "")],
      ["Model", "model", (row) => (row.model ?? "").replace(/^models\//, "")],
      ["Ended (UTC)", "time", (row) => shortTime(row.ended_at), (text, row) => (row.ended_at ? moment(row.ended_at, text) : text)],
    ],
  },
  announcements: {
    heading: "Announcements",
    none: "Nothing has been announced yet.",
    rows: () => announcements,
    id: (row) => row.id,
    state: (row) => row.detail.outcome ?? "",
    kind: (row) => row.detail.kind ?? "",
    columns: [
      ["Outcome", "end", (row) => row.detail.outcome ?? "", (text) => badge(text)],
      ["Kind", "type", (row) => row.detail.kind ?? ""],
      ["Job", "id", (row) => row.detail.job ?? "", (text) => link("jobs", text)],
      ["Ended by", "job", (row) => row.detail.webhook_id ?? "", (text) => link("deliveries", text)],
      ["Metadata", "model", (row) => JSON.stringify(row.detail.user_metadata ?? {}).replace(/^\{\}$/, "")],
      ["Bus", "count", (row) => row.bus],
      ["Ended (UTC)", "time", (row) => (row.detail.ended_at ?? "").replace("T", " ").slice(0, 19)],
    ],
  },
};

// The rows that are drawn, so that those which stay are left alone: whoever stands on a row stays on it.
let drawn = new Map();
let drawnView;

function line(view, row, cells) {
  return make("tr", { role: "row", "data-mood": mood(view.state(row).split("/").at(-1)) }, view.columns.map(([name, kind, , draw], at) => {
    const shown = draw && cells[at] !== "" ? draw(String(cells[at]), row) : cells[at];
    return make("td", { role: "cell", class: kind, "data-name": name }, shown);
  }));
}

function options(select, words, all) {
  const chosen = select.value;
  const wanted = ["", ...new Set(words)].sort();
  if (wanted.join("\n") === [...select.options].map((option) => option.value).join("\n")) return;
  select.replaceChildren(...wanted.map((word) => make("option", { value: word }, word || all)));
  select.value = wanted.includes(chosen) ? chosen : "";
}

export function showList(name) {
  const view = VIEWS[name];
  const all = view.rows();
  if (drawnView !== name) {
    drawnView = name;
    drawn = new Map();
    byId("rows").replaceChildren();
    for (const id of ["state", "kind"]) byId(id).value = "";
    byId("columns").replaceChildren(...view.columns.map(([column, kind]) =>
      make("th", { role: "columnheader", scope: "col", class: kind }, column)));
  }
  byId("heading").textContent = view.heading;
  options(byId("state"), all.map(view.state), "all");
  options(byId("kind"), all.map(view.kind), "all");
  const [wanted, state, kind] = ["search", "state", "kind"].map((id) => byId(id).value);
  const kept = new Map();
  for (const row of all) {
    if ((state && view.state(row) !== state) || (kind && view.kind(row) !== kind)) continue;
    const cells = view.columns.map(([, , text]) => text(row));
    if (!cells.join(" ").toLowerCase().includes(wanted.toLowerCase())) continue;
    const key = cells.join("\u0000");
    const old = drawn.get(view.id(row));
    kept.set(view.id(row), old?.key === key ? old : { key, element: line(view, row, cells) });
  }
  draw(kept);
  byId("count").textContent = kept.size === all.length ? String(all.length) : `${kept.size} of ${all.length}`;
  byId("none").hidden = kept.size > 0;
  byId("none").textContent = all.length ? "Nothing matches." : view.none;
}

function draw(kept) {
  const body = byId("rows");
  const focused = [...drawn].find(([, { element }]) => element.contains(document.activeElement))?.[0];
  for (const [id, { element }] of drawn) if (kept.get(id)?.element !== element) element.remove();
  [...kept.values()].forEach(({ element }, at) => {
    if (body.children[at] !== element) body.insertBefore(element, body.children[at] ?? null);
  });
  if (kept.has(focused) && drawn.get(focused) !== kept.get(focused)) kept.get(focused).element.querySelector("a")?.focus();
  drawn = kept;
}

export function keep(row) {
  deliveries.set(row.webhook_id, { ...deliveries.get(row.webhook_id), outcome: undefined, last_error: undefined, ...row });
  if (deliveries.size > MAX_ROWS) deliveries.delete(deliveries.keys().next().value);
}

export function change(row) {
  changed.set(row.webhook_id, performance.now());
  if (changed.size > MAX_ROWS) changed.delete(changed.keys().next().value);
  keep(row);
}

export async function loadDeliveries() {
  const begun = performance.now();
  // Oldest first, as they would have come.
  for (const row of (await ask("api/deliveries")).reverse()) {
    if ((changed.get(row.webhook_id) ?? -1) < begun) keep(row);
  }
}

export async function load(name) {
  if (name === "jobs") jobs = await ask("api/jobs");
  if (name === "announcements") announcements = await ask("api/announcements");
}
