// Drives webhooks and jobs with one version of Google's JavaScript SDK, and holds what it gets against what `gemhook` has
// archived: google_sdk.mjs GEMHOOK PACKAGE RECORD writes which calls were made to RECORD.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { recorded } from "./sdk_calls.mjs";

const [gemhook, packageFolder, recordPath] = process.argv.slice(2);
const home = resolve(packageFolder);
// By its path, because the CommonJS build of 0.15.0 cannot be loaded.
const { GenerateVideosOperation, GoogleGenAI } = await import(join(home, "dist/node/index.mjs"));
const { version } = JSON.parse(readFileSync(join(home, "package.json")));
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

const isGone = (ask) => assert.rejects(ask, /404|not found/);

async function listed(pager) {
  const found = [];
  for await (const item of await pager) found.push(item.name);
  return found;
}

async function webhooks(ai) {
  const types = [];
  const server = createServer(async (request, response) => {
    const chunks = await request.toArray();
    types.push(JSON.parse(Buffer.concat(chunks)).type);
    response.end();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const uri = `http://127.0.0.1:${server.address().port}/hook`;
  const made = await ai.webhooks.create({ name: "hook", uri, subscribed_events: ["batch.succeeded", "batch.failed"] });
  assert.equal(made.state, "enabled");
  const [shown] = (await ai.webhooks.get(made.id)).signing_secrets;
  assert.equal(shown.truncated_secret, `whsec_...${made.new_signing_secret.slice(-4)}`);
  assert.ok((await ai.webhooks.list()).webhooks.some((webhook) => webhook.id === made.id));
  await ai.webhooks.ping(made.id);
  await until(() => types, () => types.includes("ping"));
  const changed = await ai.webhooks.update(made.id, { subscribed_events: ["batch.succeeded"] });
  assert.deepEqual(changed.subscribed_events, ["batch.succeeded"]);
  const rotated = await ai.webhooks.rotateSigningSecret(made.id, {
    revocation_behavior: "revoke_previous_secrets_after_h24",
  });
  assert.notEqual(rotated.secret, made.new_signing_secret);
  await ai.webhooks.delete(made.id);
  await isGone(() => ai.webhooks.get(made.id));
  server.close();
}

async function files(ai) {
  const contents = new Blob([`${JSON.stringify({ key: "a", request: {} })}\n`]);
  const uploaded = await ai.files.upload({ file: contents, config: { mimeType: "application/jsonl" } });
  assert.equal((await ai.files.get({ name: uploaded.name })).mimeType, "application/jsonl");
  assert.ok((await listed(ai.files.list({ config: { pageSize: 1 } }))).includes(uploaded.name));
  await ai.files.delete({ name: uploaded.name });
  await isGone(() => ai.files.get({ name: uploaded.name }));
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
  await ai.interactions.delete(made.id);
  await isGone(() => ai.interactions.get(made.id));
}

// The newest SDK makes videos only on Google Cloud, but still reads the operation of one that others have made.
async function generateVideos(ai, gemini_url, prompt, samples) {
  const model = "veo-3.1-generate-preview";
  if (!version.startsWith("3.")) {
    return ai.models.generateVideos({ model, prompt, config: { numberOfVideos: samples } });
  }
  const body = JSON.stringify({ instances: [{ prompt }], parameters: { sampleCount: samples } });
  const headers = { "x-goog-api-key": "any", "content-type": "application/json" };
  const url = `${gemini_url}/v1beta/models/${model}:predictLongRunning`;
  const made = await (await fetch(url, { method: "POST", headers, body })).json();
  return Object.assign(new GenerateVideosOperation(), { name: made.name });
}

async function videos(ai, gemini_url) {
  let operation = await generateVideos(ai, gemini_url, 'a cat, simulate: {"size": 500000}', 2);
  operation = await until(() => ai.operations.getVideosOperation({ operation }), (it) => it.done);
  if (ai.operations.get) assert.ok((await ai.operations.get({ operation })).done);
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
  assert.ok((await listed(ai.batches.list())).includes(job.name));
  await ai.batches.delete({ name: job.name });
  await isGone(() => ai.batches.get({ name: job.name }));
}

const command = ["dev", "--json", "--port", "0", "--finish-after", "0.5", "--data", folder];
const dev = spawn(gemhook, command, { stdio: ["ignore", "pipe", "inherit"] });
try {
  const lines = createInterface({ input: dev.stdout });
  const [first] = await once(lines, "line");
  const gemini_url = JSON.parse(first).gemini_url;
  const sdk = recorded(new GoogleGenAI({ apiKey: "any", httpOptions: { baseUrl: gemini_url } }));
  // An older SDK lacks some of them. `sdk_calls.py` compares with what it must have.
  for (const [surface, drive] of Object.entries({ webhooks, files, interactions, operations: videos, batches })) {
    if (sdk.client[surface]) await drive(sdk.client, gemini_url);
    console.log(`JavaScript ${version}: ${surface} ${sdk.client[surface] ? "driven" : "not in this SDK"}`);
  }
  writeFileSync(recordPath, JSON.stringify(sdk.record(`JavaScript ${version}`)));
} finally {
  dev.kill();
  await once(dev, "exit");
  rmSync(folder, { recursive: true });
}
