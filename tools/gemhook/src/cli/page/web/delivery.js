// The story of one delivery.

import { attributes, badge, block, button, facts, link, make, moment, part } from "./dom.js";
import { ask, place, press, say, send } from "./api.js";
import { openReplay } from "./dialogs.js";
import { outputs } from "./outputs.js";
import { bytes, end, exactTime, mood, pretty, quoted, span, time } from "./text.js";

// What a change of the row means.
function meaning(change, before) {
  const again = before && (before.state === "done" || before.state === "failed");
  switch (change.state) {
    case "received": return again ? "Redriven" : "Received and recorded";
    case "archiving":
      return change.outcome ? `Committed as ${change.outcome}` : `Attempt ${change.attempt} began`;
    case "waiting": return `Attempt ${change.attempt} has to wait`;
    case "failed": return "Failed";
    case "done": return `Ended as ${change.outcome ?? "done"}`;
    default: return end(change);
  }
}

function timeline({ row, changes, announced }) {
  const list = make("ol", { class: "timeline" });
  const add = (at, what, marked, wait, error) => list.append(make("li", { class: marked },
    typeof at === "number" ? moment(at, exactTime(at)) : make("span", { class: "time" }, at),
    make("span", { class: "what" }, what),
    make("span", { class: "quiet" }, wait),
    error && make("span", { class: "why" }, error)));
  if (row.event_time) add(row.event_time, row.job_hint ? "The job ended at Gemini" : "The event was made", "", "");
  if (!changes.length) {
    const waited = row.event_time ? `${span(Math.max(0, row.received_at - row.event_time))} later` : "";
    add(row.received_at, "Received and recorded", "", waited);
    add("earlier", `${end(row)} after ${row.attempt} attempts, before this page was served`,
      row.state === "failed" ? "bad" : "", "", row.last_error);
  }
  let [last, before] = [row.event_time, undefined];
  for (const { at, change } of changes) {
    // A row keeps its last error until it has another one.
    const isNew = change.state === "waiting" || change.last_error !== before?.last_error;
    const marked = change.state === "waiting" ? "wait" : /^(done|failed)$/.test(change.state) ? mood(end(change)) : "";
    add(at, meaning(change, before), marked, at > last ? `${span(at - last)} later` : "", isNew && change.last_error);
    [last, before] = [at, change];
  }
  if (row.state === "waiting" && row.due_at) add(row.due_at, "Next attempt", "wait", "");
  for (const event of announced) {
    add("announced", `On the bus ${event.bus}, as ${event.detail?.outcome ?? "ended"}`, "good", "");
  }
  return part("Timeline", list);
}

const MARKS = { ok: "passed", failed: "failed", unchecked: "not checked" };

function steps(report) {
  if (report.error) return part("Verification", make("p", { class: "problem" }, report.error));
  const list = make("ul", { class: "steps" }, report.steps.map((step) => make("li", { class: step.state },
    make("strong", {}, step.step), make("span", { class: "mark" }, MARKS[step.state] ?? step.state),
    make("span", {}, step.found), step.hint && make("span", { class: "hint" }, step.hint))));
  return part("Verification", list);
}

function body(row) {
  const text = row.body;
  if (text === undefined) return part("Body in base64", block(row.body_base64 ?? "", "Body in base64"));
  const read = pretty(text);
  const raw = block(text, "Body as it came");
  if (read === undefined) return part("Body", raw);
  return part("Body", block(read, "Body, indented"), make("details", {}, make("summary", {}, "As it came"), raw));
}

function head({ row, job, changes, can_redrive, can_replay }) {
  const last = changes.at(-1);
  const took = last && /^(done|failed)$/.test(last.change.state) ? last.at - row.received_at : undefined;
  const redrive = button("Redrive", () => press(redrive, async () => {
    await send("POST", `api/deliveries/${encodeURIComponent(row.webhook_id)}/redrive`, {});
    say("Redriven: it is processed again.");
  }), { disabled: !can_redrive, "data-action": "redrive", title: can_redrive ? "Processes it again" : "It ended in a way that needs no redrive" });
  const replay = button("Replay", () => openReplay(row.webhook_id), { class: "main", disabled: !can_replay, "data-action": "replay" });
  return make("header", { class: "head" },
    make("p", {}, make("a", { href: "#/deliveries" }, "← Deliveries")),
    make("div", { class: "bar" },
      make("h2", {}, "Delivery ", make("code", {}, row.webhook_id)), badge(end(row)),
      place.writes && make("div", { class: "buttons" }, replay, redrive)),
    facts([
      ["Type", row.event_type ?? "(no type)"],
      ["Job", job ? link("jobs", job.job_id) : row.job_id ?? row.job_hint],
      ["Received", `${time(row.received_at)} UTC`],
      ["Took", took === undefined ? undefined : span(Math.max(0, took))],
      ["Attempts", String(row.attempt)],
      ["Signed", `${row.scheme ?? "-"} by ${row.key_id ?? "-"}`],
      ["Counts as sent by", row.trust],
      ["Last error", row.last_error],
    ]));
}

function commands(row) {
  const id = quoted(row.webhook_id);
  const where = place.local ? "" : ` --stack ${quoted(place.stack ?? "NAME")}`;
  return make("details", { class: "part" }, make("summary", {}, "The same on the command line"), block(
    [`gemhook deliveries show ${id}${where}`, `gemhook replay ${id} --new-id${where}`,
      `gemhook deliveries redrive ${id}${where}`, `gemhook verify --delivery ${id}${where}`].join("\n"), "Commands"));
}

const verifications = new Map();

// Parts of the story, in order. What the row says of its verification is asked once.
export async function deliveryStory(id) {
  const path = `api/deliveries/${encodeURIComponent(id)}`;
  const story = await ask(path);
  if (!verifications.has(id)) {
    verifications.set(id, await ask(`${path}/verification`).catch((error) => ({ error: error.message })));
    if (verifications.size > 50) verifications.delete(verifications.keys().next().value);
  }
  const { row, job } = story;
  const { body: text, body_base64, headers, ...rest } = row;
  const length = text === undefined ? undefined : new TextEncoder().encode(text).length;
  return [
    ["head", story, head],
    ["timeline", story, timeline],
    ["verification", verifications.get(id), steps],
    ["body", { text, body_base64 }, () => body(row)],
    ...(headers ? [["headers", headers, () => part("Headers", attributes(headers))]] : []),
    ...(job?.outputs?.length ? [["outputs", [job.job_id, job.outputs], () => outputs(job)]] : []),
    ["row", rest, () => make("details", { class: "part" },
      make("summary", {}, `Row of the Deliveries table${length === undefined ? "" : `, body of ${bytes(length)}`}`), attributes(rest))],
    ["commands", id, () => commands(row)],
  ];
}
