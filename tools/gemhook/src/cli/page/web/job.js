// The story of one job: how it ended, its sums, and its outputs.

import { attributes, badge, block, facts, link, make, part } from "./dom.js";
import { ask, place } from "./api.js";
import { outputs } from "./outputs.js";
import { quoted, time } from "./text.js";

const words = (state) => (state ?? "open").replace(/^BATCH_STATE_/, "").toLowerCase();

function head({ row }) {
  return make("header", { class: "head" },
    make("p", {}, make("a", { href: "#/jobs" }, "← Jobs")),
    make("div", { class: "bar" }, make("h2", {}, "Job ", make("code", {}, row.job_id)), badge(words(row.state))),
    facts([
      ["Kind", row.kind],
      ["Name", row.display_name],
      ["Model", row.model],
      ["Ended", row.ended_at ? `${time(row.ended_at)} UTC` : undefined],
      ["Watched until", row.watch_until ? `${time(row.watch_until)} UTC` : undefined],
      ["Ended by", row.ended_by ? link("deliveries", row.ended_by) : undefined],
      ["Metadata", row.user_metadata ? JSON.stringify(row.user_metadata) : undefined],
    ]));
}

// In the order in which a person asks.
const SUMS = ["requests", "succeeded", "failed", "blocked", "empty", "unreadable", "samples", "filtered", "tokens_in", "tokens_out"];

function sums(summary) {
  const cards = SUMS.filter((name) => summary[name] !== undefined).map((name) => [name, summary[name]]).map(([name, value]) =>
    make("div", { class: name === "failed" && value > 0 ? "card bad" : "card" },
      make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, value.toLocaleString("en"))));
  const stated = summary.stated && make("p", { class: "problem" }, `The batch itself says: ${JSON.stringify(summary.stated)}`);
  return part("Sums", make("dl", { class: "cards" }, cards), stated);
}

function deliveries(ids) {
  return part("Deliveries that reported it", make("ul", {}, ids.map((id) => make("li", {}, link("deliveries", id)))));
}

function announcements(events) {
  return part("Announcements", events.map((event) => make("details", {},
    make("summary", {}, `On the bus ${event.bus}, as ${event.detail?.outcome ?? "ended"}`),
    block(JSON.stringify(event.detail, null, 2), "What was announced"))));
}

export async function jobStory(id) {
  const story = await ask(`api/jobs/${encodeURIComponent(id)}`);
  const { row, announced } = story;
  const { outputs: stored, summary, text, skipped, error, deliveries: ids, ...rest } = row;
  const where = place.local ? "" : ` --stack ${quoted(place.stack ?? "NAME")}`;
  const parts = [["head", story, head]];
  if (error) parts.push(["error", error, () => part("Error", block(JSON.stringify(error, null, 2), "Error"))]);
  if (summary) parts.push(["sums", summary, sums]);
  if (text) parts.push(["text", text, () => part("Text", block(text, "Final text"))]);
  if (stored?.length) parts.push(["outputs", stored, () => outputs(row)]);
  if (skipped?.length) parts.push(["skipped", skipped, () => part("Not stored", skipped.map((one) => facts([[one.source, one.why]])))]);
  if (ids?.length) parts.push(["deliveries", ids, deliveries]);
  if (announced.length) parts.push(["announced", announced, announcements]);
  parts.push(["row", rest, () => make("details", { class: "part" }, make("summary", {}, "Row of the Jobs table"), attributes(rest))]);
  parts.push(["commands", id, () => make("details", { class: "part" }, make("summary", {}, "The same on the command line"),
    block(`gemhook jobs show ${quoted(id)}${where}\ngemhook jobs fetch ${quoted(id)} --to results${where}`, "Commands"))]);
  return parts;
}
