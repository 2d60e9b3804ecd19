// Elements. Whatever comes from outside becomes text by textContent; nothing becomes HTML.

import { mood, plain, time } from "./text.js";

export const byId = (id) => document.getElementById(id);

// An element with attributes and children. A child that is no element becomes text.
export function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== undefined && value !== false) element.setAttribute(name, plain(value));
  }
  for (const child of children.flat()) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : plain(child));
  }
  return element;
}

export function button(text, act, attributes) {
  const element = make("button", { type: "button", ...attributes }, text);
  element.addEventListener("click", act);
  return element;
}

export const badge = (word) => make("span", { class: `badge ${mood(word)}` }, word);
export const link = (view, id, text) => make("a", { href: `#/${view}/${encodeURIComponent(id)}` }, text ?? id);
export const moment = (at, text) =>
  make("time", { datetime: new Date(at).toISOString(), title: `${time(at)} UTC` }, text ?? time(at));

// Long text that scrolls in its own box, and can be scrolled by keyboard.
export const block = (text, name) => make("pre", { tabindex: 0, role: "region", "aria-label": name }, text);

// Names and what is behind them; what is missing is left out.
export function facts(pairs) {
  const list = make("dl", { class: "facts" });
  for (const [name, value] of pairs) {
    if (value === undefined || value === null || value === "") continue;
    const isLong = typeof value === "string" && value.length > 70;
    list.append(make("div", { class: isLong && "wide" }, make("dt", {}, name), make("dd", {}, value)));
  }
  return list;
}

// All attributes of a row.
export function attributes(row) {
  const shown = Object.entries(row).map(([name, value]) => {
    if (typeof value === "number" && name === "expires_at") return [name, time(value * 1000)];
    if (typeof value === "number" && /_(at|until|time|since)$/.test(name)) return [name, time(value)];
    return [name, typeof value === "object" ? JSON.stringify(value) : String(value)];
  });
  return facts(shown);
}

// The parts of a story, by name. A part is made again only when what it shows has changed, so that a reader keeps the place
// and a player goes on.
export class Parts {
  constructor(root) {
    this.root = root;
    this.shown = new Map();
  }

  // `parts` are names with what each shows, and what makes it: nothing for a part that is left out.
  show(parts) {
    const wanted = [];
    for (const [name, data, build] of parts) {
      const key = JSON.stringify(data);
      let part = this.shown.get(name);
      if (part?.key !== key) {
        const old = part?.element;
        part = { key, element: build(data) };
        part.element.dataset.part = name;
        const held = old?.contains(document.activeElement) && document.activeElement?.dataset.action;
        this.shown.set(name, part);
        if (old?.isConnected) old.replaceWith(part.element);
        const again = held && part.element.querySelector(`[data-action="${held}"]:enabled`);
        if (held) (again ?? byId("main")).focus();
      }
      wanted.push(part.element);
    }
    for (const child of [...this.root.children]) if (!wanted.includes(child)) child.remove();
    wanted.forEach((element, at) => {
      if (this.root.children[at] !== element) this.root.insertBefore(element, this.root.children[at] ?? null);
    });
  }
}

export const part = (title, ...children) => make("section", { class: "part" }, make("h3", {}, title), ...children);
