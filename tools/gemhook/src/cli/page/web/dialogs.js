// The dialogs behind the buttons: a sample job, an event, a replay.

import { byId, link, make } from "./dom.js";
import { place, say, send } from "./api.js";

// With which events a sample job of each kind can end; the first one is a good end.
const ENDS = {
  batch: ["batch.succeeded", "batch.failed", "batch.cancelled", "batch.expired"],
  embeddings: ["batch.succeeded", "batch.failed", "batch.cancelled", "batch.expired"],
  interaction: ["interaction.completed", "interaction.failed", "interaction.cancelled", "interaction.requires_action"],
  video: ["video.generated"],
};

// Does what the dialog asks for when it is sent off. It stays open while that fails, and says why.
function onSend(dialog, act) {
  const form = dialog.querySelector("form");
  const problem = dialog.querySelector(".problem");
  onClose(dialog);
  form.addEventListener("submit", async (event) => {
    if (event.submitter?.value !== "do") return;
    event.preventDefault();
    if (dialog.dataset.busy) return;
    dialog.dataset.busy = "yes";
    problem.textContent = "";
    try {
      await act(form.elements);
      dialog.close();
    } catch (error) {
      problem.textContent = error.message;
    } finally {
      delete dialog.dataset.busy;
    }
  });
}

function open(dialog) {
  dialog.querySelector(".problem").textContent = "";
  dialog.showModal();
}

// Where the button that opened it was made again meanwhile, the reading goes on at the page.
function onClose(dialog) {
  dialog.addEventListener("close", () => {
    if (document.activeElement === document.body) byId("main").focus({ preventScroll: true });
  });
}

function sent(answer) {
  if (answer.status === null) throw new Error(answer.error ?? "there was no answer");
  if (answer.status >= 300) throw new Error(`it was refused with ${answer.status} ${answer.answer}`);
}

let replayed;

export function openReplay(id) {
  replayed = id;
  open(byId("replay-dialog"));
}

export function prepareDialogs() {
  const jobs = byId("job-dialog");
  const { kind, event_type } = jobs.querySelector("form").elements;
  const fill = () => event_type.replaceChildren(...ENDS[kind.value].map((end) => make("option", { value: end }, end)));
  kind.addEventListener("change", fill);
  fill();
  byId("new-job").addEventListener("click", () => open(jobs));
  onSend(jobs, async (fields) => {
    const made = await send("POST", "api/jobs", { kind: fields.kind.value, event_type: fields.event_type.value });
    say(`Created ${made.job}. Its event comes when it ends.`);
  });

  byId("event-types").replaceChildren(...place.event_types.map((type) => make("option", { value: type })));
  byId("new-event").addEventListener("click", () => open(byId("event-dialog")));
  onSend(byId("event-dialog"), async (fields) => {
    const set = fields.set.value.split("\n").map((line) => line.trim()).filter(Boolean);
    const answer = await send("POST", "api/deliveries", { event_type: fields.event_type.value, set });
    sent(answer);
    say("Accepted: ", link("deliveries", answer.webhook_id));
  });

  onSend(byId("replay-dialog"), async (fields) => {
    const to = fields.to.value.trim();
    const wanted = { new_id: fields.id.value === "new", ...(to ? { to } : {}) };
    const answer = await send("POST", `api/deliveries/${encodeURIComponent(replayed)}/replay`, wanted);
    sent(answer);
    say(`Answered ${answer.status} in ${answer.milliseconds} ms: `, to ? answer.webhook_id : link("deliveries", answer.webhook_id));
  });
}
