// The page in a real browser: live rows, stories by keyboard, buttons, hostile events, other sites, axe-core, screenshots.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  axeSource, cleanUp, interaction, json, launch, open, replaceObject, screenshots, startDev, startPage, tabTo, trigger, until,
} from "./page_setup.mjs";
import { foreignNames, hostileEvents, hostileOutput, otherSites } from "./page_strangers.mjs";

const PIXEL = Buffer.from("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==", "base64");
const KINDS = { batch: "batch.succeeded", embeddings: "batch.succeeded", interaction: "interaction.completed", video: "video.generated" };

const row = (page, text) => page.locator("#rows tr", { hasText: text });
const said = (page, text) => page.locator("#said", { hasText: text }).waitFor();
const timeline = (page, text) => page.locator(".timeline .what", { hasText: text }).first().waitFor();

async function appearsLiveAndOpensByKeyboard(page) {
  await page.evaluate(() => { window.sameDocument = true; });
  await trigger("orchard.ripened", "--id", "msg_live");
  await row(page, "msg_live").waitFor();
  await row(page, "done/recorded").waitFor();
  assert.ok(await page.evaluate(() => window.sameDocument), "no reload");

  await tabTo(page, '#rows a[href="#/deliveries/msg_live"]');
  // Whoever stands on a row stays on it while others arrive.
  await trigger("orchard.picked", "--id", "msg_later");
  await row(page, "msg_later").waitFor();
  await page.keyboard.press("Enter");
  await page.locator("h2", { hasText: "msg_live" }).waitFor();
  await until("the reading begins at the story", () => page.evaluate(() => document.activeElement.id === "main"));
  await timeline(page, "Ended as recorded");
  const story = await page.locator("#story").innerText();
  for (const text of ["webhook-signature", "as they were verified", "it is still among those in use", "orchard.ripened"]) {
    assert.ok(story.includes(text), text);
  }
}

async function replaysAndRedrives(page, at) {
  const count = async () => (await json(`${at.page_url}api/deliveries`)).length;
  const before = await count();
  await tabTo(page, '[data-action="replay"]');
  await page.keyboard.press("Enter");
  await page.locator("#replay-dialog[open]").waitFor();
  await page.locator("#replay-dialog button.main").focus();
  await page.keyboard.press("Enter");
  await said(page, "Answered 200");
  assert.equal(await count(), before + 1, "a replay under a new id is a delivery of its own");

  await page.locator('[data-action="replay"]').click();
  await page.locator('#replay-dialog input[value="same"]').check();
  await page.locator("#replay-dialog button.main").click();
  await page.locator("#replay-dialog").waitFor({ state: "hidden" });
  assert.equal(await count(), before + 1, "under its own id it is a duplicate");

  await page.locator('[data-action="redrive"]').click();
  await said(page, "Redriven");
  await timeline(page, "Redriven");
  await until("it has ended again", async () => (await page.locator(".timeline .what", { hasText: "Ended as recorded" }).count()) === 2);
}

async function makesJobs(page, at) {
  await page.goto(`${at.page_url}#/deliveries`);
  const make = async (kind, event) => {
    await page.locator("#new-job").click();
    await page.locator('#job-dialog [name="kind"]').selectOption(kind);
    if (event) await page.locator('#job-dialog [name="event_type"]').selectOption(event);
    await page.locator("#job-dialog button.main").click();
    const name = (await page.locator("#said", { hasText: "Created" }).innerText()).match(/Created (\S+)\. /)[1];
    await page.locator("#said").evaluate((element) => element.replaceChildren());
    return name;
  };
  const jobs = {};
  for (const [kind, event] of Object.entries(KINDS)) {
    jobs[kind] = await make(kind);
    await row(page, jobs[kind]).filter({ hasText: "done/archived" }).filter({ hasText: event }).waitFor();
  }
  const failed = await make("batch", "batch.failed");
  await row(page, failed).filter({ hasText: "done/ended" }).waitFor();

  await page.locator("#new-event").click();
  await page.locator('#event-dialog [name="event_type"]').fill("orchard.watered");
  await page.locator('#event-dialog [name="set"]').fill("data.id=tree-7\nuser_metadata.n:=3");
  await page.locator("#event-dialog button.main").click();
  await said(page, "Accepted");
  await row(page, "orchard.watered").waitFor();
  await page.locator("#search").fill("orchard.watered");
  assert.equal(await page.locator("#rows tr").count(), 1);
  await page.locator("#search").fill("");
  await page.locator("#kind").selectOption("video");
  assert.deepEqual([await page.locator("#rows tr").count(), await page.locator("#count").innerText()], [1, "1 of 9"]);
  await page.locator("#kind").selectOption("");
  return jobs;
}

async function showsOutputs(page, at, jobs) {
  const show = (job) => page.goto(`${at.page_url}#/jobs/${encodeURIComponent(job)}`);
  await show(jobs.batch);
  const lines = await page.locator(".preview pre").innerText();
  assert.equal(lines.split("\n").filter((line) => line.startsWith("{")).length, 3, "a line a request");
  assert.match(await page.locator(".cards").innerText(), /requests\s+3\s+succeeded\s+3\s+failed\s+0/i);

  const parts = [];
  page.on("response", (answer) => answer.url().includes("api/output") && parts.push(answer.status()));
  await show(jobs.video);
  await page.locator(".preview p", { hasText: "no real media" }).waitFor();
  await until("the player asks for it", () => parts.length > 0);
  assert.ok(parts.every((status) => status === 206), `the player asks for parts: ${parts}`);
  const part = await page.evaluate(async (job) => {
    const answer = await fetch(`api/output?${new URLSearchParams({ job, at: 0 })}`, { headers: { range: "bytes=10-19" } });
    return [answer.status, answer.headers.get("content-range"), (await answer.arrayBuffer()).byteLength, answer.headers.get("content-type")];
  }, jobs.video);
  assert.deepEqual(part, [206, "bytes 10-19/65536", 10, "video/mp4"]);

  // The simulator makes bytes, and no pictures. A real one takes their place.
  const { name, outputs } = await interaction(at, { model: "gemini-image", input: "a balloon", response_format: { type: "image" } });
  replaceObject(outputs.find((output) => output.content_type.startsWith("image/")), PIXEL);
  await show(name);
  await until("the picture is shown", () =>
    page.evaluate(() => document.querySelector(".preview img")?.naturalWidth === 1));
}

async function setsFaultsAndTheClock(page, at) {
  const simulator = (what) => json(`${at.gemini_url}/simulator/${what}`);
  await page.goto(`${at.page_url}#/simulator`);
  await page.locator('[name="fault"]').selectOption("slow");
  await page.locator('[name="wait"]').fill("0.5");
  await page.locator('[name="on"]').fill("/nothing");
  await page.locator('[data-action="add"]').click();
  await said(page, "Added the fault slow");
  assert.deepEqual(await simulator("faults"), [{ fault: "slow", wait: 0.5, on: "/nothing" }]);
  await page.locator('[name="fault"]').selectOption("dropped");
  await page.locator('[name="on"]').fill("orchard");
  await page.locator('[data-action="add"]').click();
  await said(page, "Added the fault dropped");
  assert.equal((await simulator("faults")).length, 2);
  await page.getByRole("button", { name: "Remove the fault dropped" }).click();
  await said(page, "Removed");
  assert.deepEqual(await simulator("faults"), [{ fault: "slow", wait: 0.5, on: "/nothing" }]);
  await page.screenshot({ path: join(screenshots, "simulator-with-a-fault.png"), fullPage: true });
  await page.locator('[data-action="clear"]').click();
  await said(page, "Cleared");
  assert.deepEqual(await simulator("faults"), []);
  await page.locator('[name="retries"]').fill("1, 5");
  await page.locator('[data-action="deliver"]').click();
  await said(page, "delivered like this");
  assert.deepEqual(await simulator("deliveries"), { retries: [1, 5], copies: 1, disable_after: null });
  await page.locator('[name="unit"]').selectOption("minutes");
  await page.locator('[data-action="move"]').click();
  await said(page, "1 minutes further");
  assert.equal((await simulator("clock")).forward, 60);
}

// Every view, in one look: whatever axe-core finds is an error, and a picture of it is kept.
async function looks(browser, at, jobs, look, options) {
  const page = await open(browser, at.page_url, { ...options, bypassCSP: true });
  const views = {
    deliveries: ["#/deliveries", "#rows tr"],
    delivery: ["#/deliveries/msg_live", '[data-part="verification"]'],
    gone: [`#/deliveries/msg_gone`, ".timeline .why"],
    jobs: ["#/jobs", "#rows tr"],
    job: [`#/jobs/${encodeURIComponent(jobs.batch)}`, ".preview pre"],
    announcements: ["#/announcements", "#rows tr"],
    simulator: ["#/simulator", '[data-part="webhooks"]'],
    missing: ["#/jobs/batches%2Fnone", ".problem"],
  };
  const dialogs = { "new-job": "#job-dialog", "new-event": "#event-dialog" };
  const check = async (name) => {
    await page.evaluate(axeSource);
    const found = (await page.evaluate(() => window.axe.run())).violations;
    assert.deepEqual(found.map(({ id, impact, nodes }) => [id, impact, nodes.map(({ html }) => html)]), [], `${look} ${name}`);
    await page.screenshot({ path: join(screenshots, `${look}-${name}.png`), fullPage: true });
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert.ok(wider <= 0, `${look} ${name} is ${wider} px wider than the window`);
  };
  for (const [name, [hash, selector]] of Object.entries(views)) {
    await page.goto(at.page_url + hash);
    await page.locator(selector).first().waitFor();
    await check(name);
  }
  await page.goto(`${at.page_url}#/deliveries`);
  for (const [opener, dialog] of Object.entries(dialogs)) {
    await page.locator(`#${opener}`).click();
    await check(opener);
    await page.keyboard.press("Escape");
    await page.locator(dialog).waitFor({ state: "hidden" });
  }
  await page.goto(`${at.page_url}#/deliveries/msg_live`);
  await page.locator('[data-action="replay"]').click();
  await check("replay");
  await page.context().close();
}

async function onlyReadsAStack(browser) {
  const at = await startPage();
  assert.equal(at.writes, false);
  const page = await open(browser, at.page_url);
  await page.locator("h1", { hasText: "read only" }).waitFor();
  await trigger("orchard.ripened", "--id", "msg_of_the_stack");
  await row(page, "msg_of_the_stack").waitFor();
  assert.equal(await page.locator("#make").isVisible(), false);
  await page.locator("#rows a", { hasText: "msg_of_the_stack" }).click();
  await timeline(page, "Ended as recorded");
  assert.equal(await page.locator("#story button").count(), 0);
  await page.screenshot({ path: join(screenshots, "read-only.png"), fullPage: true });
  assert.deepEqual(page.complaints, []);
  await page.context().close();
}

mkdirSync(screenshots, { recursive: true });
const at = await startDev();
const browser = await launch();
try {
  const page = await open(browser, at.page_url);
  await appearsLiveAndOpensByKeyboard(page);
  console.log("a delivery appears live, and its story opens by keyboard");
  await replaysAndRedrives(page, at);
  console.log("replay and redrive work");
  const jobs = await makesJobs(page, at);
  console.log("a sample job of each kind, an event, search and filters work");
  await showsOutputs(page, at, jobs);
  console.log("lines, pictures and players of outputs are shown");
  await setsFaultsAndTheClock(page, at);
  console.log("faults are set and cleared, and the clock moves");
  assert.deepEqual(page.complaints, []);
  await trigger("batch.succeeded", "--id", "msg_gone");
  await looks(browser, at, jobs, "light", { colorScheme: "light" });
  await looks(browser, at, jobs, "dark", { colorScheme: "dark" });
  await looks(browser, at, jobs, "narrow", { colorScheme: "light", viewport: { width: 400, height: 800 } });
  console.log("axe-core finds nothing in light, dark and narrow");
  await hostileEvents(browser, at);
  await hostileOutput(browser, at);
  console.log("markup and terminal escapes are inert");
  await foreignNames(browser, at);
  await otherSites(browser, at, "msg_live");
  console.log("other names and other sites are refused");
  await onlyReadsAStack(browser);
  console.log("the page of a deployment follows its tables and only reads");
} finally {
  await browser.close();
  cleanUp();
}
