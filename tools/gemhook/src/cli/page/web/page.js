// The page: which view is shown, and what it follows live.

import { byId, make, Parts } from "./dom.js";
import { ask, place, say } from "./api.js";
import { change, load, loadDeliveries, showList, VIEWS } from "./lists.js";
import { deliveryStory } from "./delivery.js";
import { jobStory } from "./job.js";
import { simulatorStory } from "./simulator.js";
import { prepareDialogs } from "./dialogs.js";
import { plain } from "./text.js";

// A list of a deployed table is made by reading all of it.
const LIST_EVERY = place.local ? 0 : 10_000;
let asked = 0;
let parts;
let partsOf;
let listed = 0;
// Why no changes come, although the page is connected.
let trouble = null;

function where() {
  const [, view, id] = /^#\/(deliveries|jobs|announcements|simulator)(?:\/(.+))?$/.exec(location.hash) ?? [];
  try {
    return { view: view ?? "deliveries", id: id === undefined ? undefined : decodeURIComponent(id) };
  } catch {
    return { view: "deliveries" };
  }
}

function story(view, id) {
  if (view === "simulator") return simulatorStory(() => show(false));
  if (id === undefined) return undefined;
  if (view === "deliveries") return deliveryStory(id);
  return view === "jobs" ? jobStory(id) : undefined;
}

function mark(view, id) {
  document.title = `${plain(id ?? VIEWS[view]?.heading ?? "Simulator")} - ${place.name}`;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#/${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

async function showStory(view, id, mine) {
  const shown = await story(view, id);
  if (mine !== asked) return;
  const name = `${view}/${id ?? ""}`;
  if (partsOf !== name) {
    byId("story").replaceChildren();
    byId("story").className = view;
    [parts, partsOf] = [new Parts(byId("story")), name];
  }
  parts.show(shown);
}

async function showRows(view, mine, moved) {
  if (view !== "deliveries" && (moved || performance.now() - listed >= LIST_EVERY)) {
    listed = performance.now();
    await load(view);
  }
  if (mine === asked) showList(view);
}

// Whether a person went to what is about to be shown, so that the reading begins there.
let arrives = false;

async function show(moved) {
  arrives ||= moved;
  const { view, id } = where();
  const mine = ++asked;
  const hasStory = id !== undefined || view === "simulator";
  mark(view, id);
  try {
    await (hasStory ? showStory(view, id, mine) : showRows(view, mine, arrives));
    if (mine !== asked) return;
  } catch (error) {
    if (mine !== asked) return;
    partsOf = undefined;
    byId("story").className = "";
    byId("story").replaceChildren(make("h2", {}, "It cannot be shown"), make("p", { class: "problem" }, error.message));
    byId("list").hidden = true;
    byId("story").hidden = false;
    return;
  }
  byId("list").hidden = hasStory;
  byId("story").hidden = !hasStory;
  if (arrives) {
    arrives = false;
    scrollTo(0, 0);
    byId("main").focus({ preventScroll: true });
  }
}

let due;
// Many changes at once are shown once.
function showSoon() {
  due ??= setTimeout(() => { due = undefined; show(false); }, 100);
}

function live(word, isLive) {
  byId("live").textContent = word;
  byId("live").classList.toggle("on", isLive);
}

async function reload() {
  try {
    await loadDeliveries();
    live(trouble === null ? "live" : "not live", trouble === null);
  } catch (error) {
    live(plain(error.message), false);
  }
  showSoon();
}

function follow() {
  const source = new EventSource("api/changes");
  source.addEventListener("open", async () => {
    trouble = null;
    // A program that was started again takes another token, and may have another version of the page.
    const now = await ask("api/place").catch(() => place);
    if (now.token === place.token) reload();
    else location.reload();
  });
  source.addEventListener("lagged", reload);
  source.addEventListener("error", () => live("not connected: is it still running?", false));
  source.addEventListener("change", (event) => {
    const seen = JSON.parse(event.data).change;
    change(seen);
    const { view, id } = where();
    if (view === "jobs" || (view === "deliveries" && (id === undefined || id === seen.webhook_id))) showSoon();
  });
  source.addEventListener("trouble", (event) => {
    trouble = JSON.parse(event.data);
    if (trouble !== null) say(`No changes are shown as they happen: ${trouble}`);
    reload();
  });
  source.addEventListener("announced", () => {
    if (where().view !== "simulator") showSoon();
  });
}

function begin() {
  byId("name").textContent = plain(place.name);
  for (const link of document.querySelectorAll("[data-local]")) link.hidden = !place.local;
  byId("make").hidden = !(place.local && place.writes);
  if (!place.writes) byId("name").after(make("span", { class: "badge quiet" }, "read only"));
  prepareDialogs();
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["search", "state", "kind"]) byId(id).addEventListener("input", () => showList(where().view));
  // The address says what is shown, so a jump within the page must not change it.
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("main").focus();
  });
  addEventListener("hashchange", () => show(true));
  show(false);
  follow();
}

begin();
