// What the page asks of the program that serves it. Each answer is JSON.

import { plain } from "./text.js";
import { byId, make } from "./dom.js";

// What the page is about, and the token that another site cannot read. It is there before anything is shown.
export const place = await ask("api/place");

async function answer(response) {
  const body = await response.json().catch(() => ({ error: `status ${response.status}` }));
  if (!response.ok) throw new Error(body.error ?? `status ${response.status}`);
  return body;
}

export async function ask(path) {
  return answer(await fetch(path));
}

// A request that changes something.
export async function send(method, path, body) {
  const headers = { "content-type": "application/json", "x-gemhook-token": place.token ?? "" };
  return answer(await fetch(path, { method, headers, body: JSON.stringify(body) }));
}

// Says what came of a button, to eyes and to screen readers.
export function say(...what) {
  byId("said").replaceChildren(...make("span", {}, ...what).childNodes);
}

// Does what a button asks for, once at a time, and says what goes wrong.
export async function press(button, act) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    await act();
  } catch (error) {
    say(`It was not done: ${plain(error.message)}`);
  } finally {
    button.removeAttribute("aria-disabled");
  }
}
