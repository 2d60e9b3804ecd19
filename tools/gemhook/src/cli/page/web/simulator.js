// The simulator: its faults, its clock, how it delivers, and its webhooks.

import { badge, button, facts, make, part } from "./dom.js";
import { ask, press, say, send } from "./api.js";
import { span } from "./text.js";

// Each fault and what it needs, with a value to begin with. An empty one may be left out.
const FAULTS = {
  unavailable: ["503 for each call", {}],
  throttled: ["429 for each call", { wait: 1.5, quota: "" }],
  slow: ["each answer is late by so many seconds", { wait: 2 }],
  not_found: ["404 for reading a job or file", {}],
  rejected: ["400 or 403 for reading a job or file", { status: 400, message: "" }],
  other_key: ["only this API key finds jobs and files", { key: "k2" }],
  no_output: ["an ended job shows no output", {}],
  empty: ["a download has 0 bytes", {}],
  cut: ["a download breaks off after so many bytes", { after: 1000 }],
  wrong_length: ["a download's length is wrong by so many bytes", { by: -5 }],
  no_ranges: ["a download ignores Range", {}],
  redirected: ["a download is at another host", { to: "" }],
  expired: ["generated files are gone", { status: 404 }],
  dropped: ["an event is never sent", {}],
  delayed: ["an event is late by so many seconds", { wait: 60 }],
  duplicated: ["an attempt sends so many copies at once", { copies: 3 }],
  not_restamped: ["a retry has the first attempt's timestamp", {}],
  stale: ["a timestamp is so many seconds old, and signed", { age: 600 }],
  two_signatures: ["another secret's entry comes before the right one", {}],
  trickled: ["half of a body is late by so many seconds", { wait: 3 }],
  silent: ["a connection is opened, and nothing is sent", { wait: 3 }],
  impatient: ["the sender waits so many seconds for an answer", { wait: 0.5 }],
};
const LIMITS = { calls: "", seconds: "", on: "" };
const NUMBERS = new Set(["wait", "status", "after", "by", "copies", "age", "calls", "seconds"]);
const LABELS = { calls: "for N calls", seconds: "for N seconds", on: "on paths or types with" };
const UNITS = { seconds: 1, minutes: 60, hours: 3600, days: 86_400 };

let refresh = () => {};

// Changes the list as it is now: calls may have used some of it up since it was shown.
async function setFaults(change, words) {
  const { faults } = await ask("api/simulator");
  await send("PUT", "api/simulator/faults", change(faults));
  await refresh();
  say(words);
}

// Whether these are one fault, of which one was met by calls meanwhile.
const isSame = (one, other) => JSON.stringify({ ...one, calls: 0 }) === JSON.stringify({ ...other, calls: 0 });

function field(name, value) {
  return make("label", {}, LABELS[name] ?? name.replaceAll("_", " "), " ",
    make("input", { name, value, type: NUMBERS.has(name) ? "number" : "text", step: "any", autocomplete: "off" }));
}

function newFault() {
  const kind = make("select", { name: "fault" }, Object.entries(FAULTS).map(([name, [what]]) =>
    make("option", { value: name }, `${name.replaceAll("_", " ")}: ${what}`)));
  const more = make("div", { class: "fields" });
  const fill = () => more.replaceChildren(...Object.entries({ ...FAULTS[kind.value][1], ...LIMITS }).map(([name, value]) => field(name, value)));
  kind.addEventListener("change", fill);
  fill();
  const add = make("button", { type: "submit", class: "main", "data-action": "add" }, "Add the fault");
  const form = make("form", { class: "fault-form" }, make("label", {}, "Fault ", kind), more, add);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    press(add, async () => {
      const fault = { fault: kind.value };
      for (const input of more.querySelectorAll("input")) {
        if (input.value !== "") fault[input.name] = NUMBERS.has(input.name) ? Number(input.value) : input.value;
      }
      await setFaults((active) => [...active, fault], `Added the fault ${kind.value}.`);
    });
  });
  return part("Add a fault", form);
}

function faults(active) {
  const list = make("ul", { class: "plain" }, active.map((fault) => {
    const { fault: name, ...more } = fault;
    const rest = Object.entries(more).map(([key, value]) => `${key} ${value}`).join(", ");
    const without = (now) => {
      const at = now.findIndex((other) => isSame(other, fault));
      return now.filter((_, other) => other !== at);
    };
    const remove = button("Remove", () => press(remove, () => setFaults(without, `Removed the fault ${name}.`)),
      { "aria-label": `Remove the fault ${name}` });
    return make("li", { class: "bar" }, badge(name), make("span", { class: "grow" }, rest || "every call"), remove);
  }));
  const clear = button("Clear all faults", () => press(clear, () => setFaults(() => [], "Cleared all faults.")), { disabled: !active.length, "data-action": "clear" });
  return part("Faults", active.length ? list : make("p", { class: "quiet" }, "None: every call is answered as it should be."), clear);
}

function clock(state) {
  const amount = make("input", { name: "amount", type: "number", min: 1, value: 1, required: true });
  const unit = make("select", { name: "unit" }, Object.keys(UNITS).map((name) => make("option", { value: name, selected: name === "hours" }, name)));
  const move = make("button", { type: "submit", class: "main", "data-action": "move" }, "Move forward");
  const form = make("form", { class: "bar" }, make("label", {}, "By ", amount), make("label", {}, "Unit ", unit), move);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    press(move, async () => {
      const now = (await ask("api/simulator")).clock.forward;
      await send("PUT", "api/simulator/clock", { forward: now + Number(amount.value) * UNITS[unit.value] });
      await refresh();
      say(`The simulator's clock is ${amount.value} ${unit.value} further.`);
    });
  });
  const ahead = state.forward < 1 ? "in step with real time" : `${span(state.forward * 1000)} ahead of real time`;
  return part("Clock", facts([["It is", ahead]]),
    make("p", { class: "quiet" }, "Jobs, waits and faults go by it. It does not go back."), form);
}

// How events are sent, and how often until they are accepted.
function deliveries(policy) {
  const input = (name, label, value, type) => [label, make("input", { name, value, type, min: 1, autocomplete: "off" })];
  const fields = [
    input("retries", "seconds between attempts", policy.retries.join(", "), "text"),
    input("copies", "copies at once", policy.copies, "number"),
    input("disable_after", "disabled after N failures", policy.disable_after ?? "", "number"),
  ];
  const set = make("button", { type: "submit", class: "main", "data-action": "deliver" }, "Deliver like this");
  const form = make("form", { class: "fault-form" },
    make("div", { class: "fields" }, fields.map(([label, element]) => make("label", {}, label, " ", element))), set);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    press(set, async () => {
      const { retries, copies, disable_after } = form.elements;
      await send("PUT", "api/simulator/deliveries", {
        retries: retries.value.split(",").map((text) => text.trim()).filter(Boolean).map(Number),
        copies: Number(copies.value),
        disable_after: disable_after.value === "" ? null : Number(disable_after.value),
      });
      await refresh();
      say("Events are delivered like this from now on.");
    });
  });
  return part("Deliveries", make("p", { class: "quiet" }, "An event is sent until it is accepted. The last wait is repeated for a day."), form);
}

function webhooks(state) {
  if (state.error) return part("Webhooks", make("p", { class: "problem" }, state.error));
  return part("Webhooks", state.list.map((webhook) => make("div", { class: "output" },
    make("h4", {}, webhook.name ?? webhook.id, " ", badge(webhook.state)),
    facts([
      ["Id", webhook.id],
      ["Sends to", webhook.uri],
      ["Events", webhook.subscribed_events.join(", ")],
      ["Signs with", webhook.signing_secrets.map((one) => one.truncated_secret).join(", ")],
    ]))));
}

export async function simulatorStory(again) {
  refresh = again;
  const state = await ask("api/simulator");
  return [
    ["head", state.url, () => make("header", { class: "head" }, make("h2", {}, "Simulator"),
      facts([["Google's SDKs find it by", `GOOGLE_GEMINI_BASE_URL=${state.url}`]]))],
    ["faults", state.faults, faults],
    // Apart from the list, so that what somebody has begun to fill in stays.
    ["new-fault", null, newFault],
    ["clock", { forward: Math.floor(state.clock.forward) }, clock],
    ["deliveries", state.deliveries, deliveries],
    ["webhooks", state.webhooks, webhooks],
  ];
}
