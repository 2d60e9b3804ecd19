// Runs jobs with Google's JavaScript SDK, and holds what it gets against what `gemhook` has archived.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";

const [gemhook, home] = process.argv.slice(2);
const { GoogleGenAI } = createRequire(resolve(home) + "/")("@google/genai");
const folder = mkdtempSync(join(tmpdir(), "gemhook-"));

async function until(ask, ended) {
  for (let asked = 0; asked < 600; asked++) {
    const found = await ask();
    if (ended(found)) return found;
    await setTimeout(100);
  }
  throw new Error("a job has not ended");
}

// Waits until an event has told this machine of the job's end, and compares its objects with what the SDK got.
function compare(name, outputs) {
  const run = (...args) => execFileSync(gemhook, ["jobs", ...args, `--local=${folder}`], { stdio: "inherit" });
  run("wait", name, "--timeout", "60s");
  if (outputs.length === 0) return;
  const to = join(folder, "fetched", name);
  run("fetch", name, "--to", to);
  for (const [key, expected] of outputs) {
    assert.ok(readFileSync(join(to, key)).equals(expected), `${key} is not what the SDK got`);
  }
}

async function interact(ai, asked) {
  const made = await ai.interactions.create({ background: true, ...asked });
  assert.equal(made.status, "in_progress");
  return until(() => ai.interactions.get(made.id), (it) => it.status !== "in_progress");
}

async function interactions(ai) {
  const done = await interact(ai, { agent: "deep-research-preview", input: "why" });
  const text = done.steps.at(-1).content[0].text;
  assert.equal(text, "echo: why");
  compare(`interactions/${done.id}`, [[`interactions/${done.id}/text.md`, Buffer.from(text)]]);

  const tool = { type: "function", name: "get_weather", parameters: { type: "object", properties: { location: {} } } };
  const waiting = await interact(ai, { model: "gemini-flash", input: "Boston", tools: [tool] });
  const call = waiting.steps.at(-1);
  assert.deepEqual([waiting.status, call.arguments], ["requires_action", { location: "Boston" }]);
  const result = { type: "function_result", call_id: call.id, name: call.name, result: { ok: true } };
  const continued = await interact(ai, {
    model: "gemini-flash",
    previous_interaction_id: waiting.id,
    input: [result],
  });
  assert.equal(continued.status, "completed");
  compare(`interactions/${continued.id}`, []);

  const made = await ai.interactions.create({ model: "gemini-flash", input: "hi", background: true });
  assert.equal((await ai.interactions.cancel(made.id)).status, "cancelled");
  compare(`interactions/${made.id}`, []);
}

async function videos(ai) {
  let operation = await ai.models.generateVideos({
    model: "veo-3.1-generate-preview",
    source: { prompt: 'a cat, simulate: {"size": 500000}' },
    config: { numberOfVideos: 2 },
  });
  operation = await until(() => ai.operations.getVideosOperation({ operation }), (it) => it.done);
  const place = `videos/${operation.name.split("/").at(-1)}`;
  const outputs = [];
  for (const [number, made] of operation.response.generatedVideos.entries()) {
    const downloadPath = join(folder, `sample-${number}`);
    await ai.files.download({ file: made.video, downloadPath });
    // The SDK does not wait until all is written.
    await until(() => readFileSync(downloadPath, { flag: "a+" }), (bytes) => bytes.length === 500_000);
    outputs.push([`${place}/${number}.mp4`, readFileSync(downloadPath)]);
  }
  assert.equal(outputs.length, 2);
  compare(operation.name, outputs);
}

async function batches(ai) {
  const ended = (name) => until(() => ai.batches.get({ name }), (it) => !/PENDING|RUNNING/.test(it.state));
  const embedded = await ai.batches.createEmbeddings({
    model: "gemini-embedding-001",
    src: { inlinedRequests: { contents: ["one two"], config: { outputDimensionality: 4 } } },
  });
  const [response] = (await ended(embedded.name)).dest.inlinedEmbedContentResponses;
  assert.equal(response.response.embedding.values.length, 4);
  compare(embedded.name, []);

  const job = await ai.batches.create({ model: "gemini-flash", src: [{ contents: "one" }] });
  await ai.batches.cancel({ name: job.name });
  assert.equal((await ended(job.name)).state, "JOB_STATE_CANCELLED");
  compare(job.name, []);
}

const command = ["dev", "--json", "--port", "0", "--finish-after", "0.5", "--data", folder];
const dev = spawn(gemhook, command, { stdio: ["ignore", "pipe", "inherit"] });
try {
  const lines = createInterface({ input: dev.stdout });
  const [first] = await once(lines, "line");
  const ai = new GoogleGenAI({ apiKey: "any", httpOptions: { baseUrl: JSON.parse(first).gemini_url } });
  await interactions(ai);
  await videos(ai);
  await batches(ai);
} finally {
  dev.kill();
  await once(dev, "exit");
  rmSync(folder, { recursive: true });
}
