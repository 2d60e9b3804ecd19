// What others try: events with markup and terminal escapes, outputs that are no pictures, other names, other sites.

import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { join } from "node:path";
import { data, interaction, json, open, trigger, until } from "./page_setup.mjs";

const MARKUP = '<script>window.hacked = 1</script><img src="x" onerror="window.hacked = 2"><svg onload="window.hacked = 3">';

async function send(id, body) {
  const file = join(data, `${id}.body`);
  writeFileSync(file, body);
  await trigger("--body", file, "--id", id);
}

export async function hostileEvents(browser, at) {
  await send("msg_markup", JSON.stringify({ type: MARKUP, data: { id: MARKUP } }));
  await send("msg_escapes", `\u001b]0;owned\u0007\u001b[2J\u009b31m${MARKUP}\u202etxt.exe`);
  const page = await open(browser, at.page_url);
  for (const id of ["msg_markup", "msg_escapes"]) {
    await page.goto(`${at.page_url}#/deliveries`);
    await page.locator("#rows a", { hasText: id }).click();
    await page.locator('[data-part="body"]').waitFor();
    const text = await page.locator("#story").innerText();
    assert.ok(text.includes("<script>window.hacked = 1</script>"), "the markup is shown as text");
    assert.doesNotMatch(text, /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e]/, "nothing of it moves the text around it");
  }
  assert.ok((await page.locator("#story").innerText()).includes("\\u{1b}]0;owned\\u{7}"), "an escape is shown as what it is");
  const made = await page.evaluate(() => document.querySelectorAll("#story script, #story img, #story svg, #rows img, #rows script").length);
  assert.deepEqual([made, await page.evaluate(() => window.hacked)], [0, undefined]);
  assert.deepEqual(page.complaints, []);

  // Were the script to make HTML of a text after all, the browser would refuse.
  for (const attempt of [
    (markup) => { document.getElementById("story").innerHTML = markup; },
    () => { const script = document.createElement("script"); script.textContent = "window.hacked = 4"; document.body.append(script); },
  ]) {
    await assert.rejects(page.evaluate(attempt, MARKUP), /Trusted/);
  }
  // The browser's tools may always evaluate, so this is asked in a task of the page's own.
  const evaluated = await page.evaluate(() => new Promise((done) => {
    setTimeout(() => { try { window.eval("window.hacked = 5"); done("ran"); } catch (error) { done(error.name); } });
  }));
  assert.equal(evaluated, "EvalError");
  assert.equal(await page.evaluate(() => fetch("http://evil.example:1/").then(() => "sent", (error) => error.name)), "TypeError");
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.ok(page.complaints.some((text) => text.includes("connect-src")), page.complaints.join("\n"));
  await page.context().close();
}

// An output with markup in it, opened by itself.
export async function hostileOutput(browser, at) {
  const { name: job, outputs } = await interaction(at, { model: "gemini-flash", input: `<!doctype html>${MARKUP}` });
  const index = outputs.findIndex((output) => output.content_type.startsWith("text/markdown"));
  const page = await open(browser, at.page_url);
  await page.goto(`${at.page_url}#/jobs/${encodeURIComponent(job)}`);
  await page.locator(".preview pre", { hasText: "window.hacked = 1" }).first().waitFor();
  const url = `${at.page_url}api/output?${new URLSearchParams({ job, at: index })}`;
  const answer = await page.goto(url);
  const headers = answer.headers();
  assert.equal(headers["content-type"], "text/plain; charset=utf-8");
  assert.ok(headers["content-security-policy"].includes("sandbox") && headers["x-content-type-options"] === "nosniff");
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  await page.context().close();
}

function status(url, options) {
  const { hostname, port, pathname } = new URL(url);
  return new Promise((done, fail) => {
    const asked = request({ hostname, port, path: pathname, ...options }, (answer) => {
      answer.resume();
      done(answer.statusCode);
    });
    asked.on("error", fail);
    asked.end();
  });
}

export async function foreignNames(browser, at) {
  const { port } = new URL(at.page_url);
  for (const host of ["evil.example", `evil.example:${port}`, "127.0.0.1", `127.0.0.1.evil.example:${port}`]) {
    assert.equal(await status(at.page_url, { headers: { host } }), 421, host);
  }
  const page = await (await browser.newContext()).newPage();
  const answer = await page.goto(`http://rebound.example:${port}/`);
  assert.equal(answer.status(), 421, "a name that leads to this machine by DNS");
  assert.ok(!(await page.content()).includes("page.js"));
  await page.context().close();
}

// A page of another site that sends what a browser lets it send: forms, fetches, frames and scripts.
export async function otherSites(browser, at, delivery) {
  const server = createServer((_, answer) => answer.setHeader("content-type", "text/html").end("<!doctype html><title>other</title>"));
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address();
  const redrive = `${at.page_url}api/deliveries/${delivery}/redrive`;
  const faults = `${at.page_url}api/simulator/faults`;
  const before = await json(`${at.page_url}api/deliveries/${delivery}`);
  // The second one counts as the same site, because a site has no port.
  for (const origin of [`http://evil.example:${port}`, `http://127.0.0.1:${port}`]) {
    const page = await (await browser.newContext()).newPage();
    const answers = [];
    page.context().on("response", (answer) => answers.push([answer.request().method(), answer.url(), answer.status()]));
    await page.goto(origin);
    await page.evaluate(([url]) => {
      const form = Object.assign(document.createElement("form"), { action: url, method: "post", enctype: "text/plain", target: "_blank" });
      form.append(Object.assign(document.createElement("input"), { name: '{"x":"', value: '"}' }));
      document.body.append(form);
      form.submit();
    }, [redrive]);
    await until("the form is answered", () => answers.some(([method, url, code]) => method === "POST" && url === redrive && code === 403));

    const tried = await page.evaluate(async ([redrive, faults, root]) => {
      const outcome = async (promise) => promise.then((answer) => `${answer.type} ${answer.status}`, (error) => error.name);
      const script = document.createElement("script");
      script.src = `${root}api/place`;
      const loaded = new Promise((done) => { script.onload = () => done("loaded"); script.onerror = () => done("refused"); });
      document.body.append(script);
      return [
        await outcome(fetch(redrive, { method: "POST", body: "{}" })),
        await outcome(fetch(redrive, { method: "POST", body: "{}", headers: { "content-type": "application/json", "x-gemhook-token": "guess" } })),
        await outcome(fetch(faults, { method: "PUT", body: "[]" })),
        await outcome(fetch(`${root}api/place`)),
        await loaded,
      ];
    }, [redrive, faults, at.page_url]);
    assert.deepEqual(tried, ["TypeError", "TypeError", "TypeError", "TypeError", "refused"], origin);
    await page.evaluate(([redrive]) => fetch(redrive, { method: "POST", body: "{}", mode: "no-cors" }).catch(() => {}), [redrive]);

    // It cannot be put into a frame, under which a reader would press its buttons.
    await page.evaluate(([root]) => {
      document.body.append(Object.assign(document.createElement("iframe"), { src: root, name: "framed" }));
    }, [at.page_url]);
    await until("the frame is answered", () => page.frame("framed")?.url());
    await page.waitForLoadState();
    assert.ok(!(await page.frame("framed").content()).includes("page.js"), "framed by another site");
    const codes = answers.filter(([, url]) => url.startsWith(at.page_url)).map(([, , code]) => code);
    assert.ok(codes.length >= 2 && codes.every((code) => code === 403), JSON.stringify(answers));
    await page.context().close();
  }
  assert.deepEqual(await json(`${at.page_url}api/deliveries/${delivery}`), before, "nothing has changed");
  server.close();
}
