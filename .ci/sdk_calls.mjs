// Records which calls of Google's JavaScript SDK were made, as `sdk_calls.py` does it for Python.

import { readFileSync } from "node:fs";

const known = JSON.parse(readFileSync(new URL("sdk_calls.json", import.meta.url)));
// Methods that only TypeScript keeps private, and the accessor of a surface's generated base.
const PLUMBING =
  /^_|Internal$|^(constructor|getClient|createInlinedGenerateContentRequest|getGcsUri|getBigqueryUri|formatDestination)$/;

const snakeCase = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

function methods(surface) {
  const names = new Set();
  for (let object = surface; object && object !== Object.prototype; object = Object.getPrototypeOf(object)) {
    for (const name of Object.getOwnPropertyNames(object)) {
      const getter = Object.getOwnPropertyDescriptor(object, name).get;
      if (!getter && typeof surface[name] === "function" && !PLUMBING.test(name)) names.add(name);
    }
  }
  return [...names].map(snakeCase).sort();
}

// A client that remembers which calls succeeded, and the function that gives the record.
export function recorded(client) {
  const made = Object.fromEntries(Object.keys(known.calls).map((name) => [name, new Set()]));
  const surface = (target, name) =>
    new Proxy(target, {
      get(_, call) {
        const found = target[call];
        if (typeof found !== "function") return found;
        return async (...args) => {
          const answer = await found.apply(target, args);
          made[name].add(snakeCase(call));
          return answer;
        };
      },
    });
  const proxy = new Proxy(client, {
    get(_, name) {
      const found = client[name];
      return found && name in made ? surface(found, name) : found;
    },
  });
  const record = (sdk) => ({
    sdk,
    has: Object.fromEntries(Object.keys(made).map((name) => [name, methods(client[name])])),
    made: Object.fromEntries(Object.entries(made).map(([name, calls]) => [name, [...calls].sort()])),
  });
  return { client: proxy, record };
}
