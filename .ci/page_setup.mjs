// What the checks of the page share: the programs they run, the browser, and waiting.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

export const [gemhook, packages, chromium, screenshots] = process.argv.slice(2);
const load = createRequire(resolve(packages) + "/");
export const axeSource = load("axe-core").source;
const run = promisify(execFile);

const folder = mkdtempSync(join(tmpdir(), "gemhook-page-"));
export const data = join(folder, "data");
const children = [];

// Starts the program and gives the first line of JSON that it writes.
async function start(args, env) {
  const child = spawn(gemhook, args, { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...env } });
  children.push(child);
  const lines = createInterface({ input: child.stdout });
  for await (const line of lines) {
    child.stdout.resume();
    return JSON.parse(line);
  }
  throw new Error(`gemhook ${args.join(" ")} wrote nothing`);
}

export const startDev = () =>
  start(["dev", "--json", "--port", "0", "--data", data, "--finish-after", "0.5", "--record-first", "1"]);

// The page as of a deployment: its tables and its bucket are named by the functions' own variables.
export async function startPage(...more) {
  const { stdout } = await run(gemhook, ["env", "--json", `--local=${data}`]);
  const env = JSON.parse(stdout);
  return start(["page", "--json", "--port", "0", ...more], { ...env, AWS_ENDPOINT_URL_DYNAMODB_STREAMS: env.AWS_ENDPOINT_URL_DYNAMODB });
}

export async function trigger(...args) {
  const env = { ...process.env };
  delete env.WEBHOOK_SECRET;
  await run(gemhook, ["trigger", ...args, `--local=${data}`], { env });
}

// Names that lead to this machine, as a stranger's would: none of them is the page's own.
export const STRANGERS = ["evil.example", "rebound.example"];

export async function launch() {
  const map = STRANGERS.map((name) => `MAP ${name} 127.0.0.1`).join(", ");
  // Chromium has no sandbox of its own where it runs as root.
  const args = [`--host-resolver-rules=${map}`, ...(process.getuid() === 0 ? ["--no-sandbox"] : [])];
  return load("playwright-core").chromium.launch({ executablePath: chromium, args });
}

// A page in a context of its own. What its script or the browser complains of is collected.
export async function open(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.complaints = [];
  page.on("pageerror", (error) => page.complaints.push(error.message));
  page.on("console", (message) => message.type() === "error" && page.complaints.push(message.text()));
  await page.goto(url);
  await page.locator("#live.on").waitFor();
  return page;
}

export async function until(what, ask) {
  for (let asked = 0; asked < 600; asked++) {
    const found = await ask();
    if (found) return found;
    await new Promise((wake) => setTimeout(wake, 50));
  }
  assert.fail(`it did not happen: ${what}`);
}

export async function json(url, options) {
  const answer = await fetch(url, options);
  assert.ok(answer.ok, `${url}: ${answer.status}`);
  return answer.json();
}

// Has the simulator run an interaction, and waits until its outputs are archived.
export async function interaction(at, body) {
  const headers = { "content-type": "application/json", "x-goog-api-key": "k" };
  const made = await json(`${at.gemini_url}/v1beta/interactions`,
    { method: "POST", headers, body: JSON.stringify({ background: true, ...body }) });
  const name = `interactions/${made.id}`;
  const outputs = await until(`${name} is archived`, async () => {
    const answer = await fetch(`${at.page_url}api/jobs/${encodeURIComponent(name)}`);
    return answer.ok && (await answer.json()).row.outputs;
  });
  return { name, outputs };
}

// Puts other bytes in the place of an object, without the checksums that the store keeps beside it.
export function replaceObject({ bucket, key }, bytes) {
  const [inBucket, inKey] = [bucket, key].map((text) => Buffer.from(text).toString("base64url"));
  rmSync(join(data, "s3", `.bucket-${inBucket}.object-${inKey}.internal.json`));
  writeFileSync(join(data, "s3", bucket, key), bytes);
}

// Presses Tab until an element that matches is focused.
export async function tabTo(page, selector) {
  for (let pressed = 0; pressed < 60; pressed++) {
    await page.keyboard.press("Tab");
    if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) return;
  }
  assert.fail(`${selector} cannot be reached by Tab`);
}

export function cleanUp() {
  for (const child of children) child.kill("SIGINT");
  rmSync(folder, { recursive: true, force: true });
}
