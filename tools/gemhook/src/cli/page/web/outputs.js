// The outputs of a job, each with a preview. Texts come as JSON and become text; pictures and players get a type that the
// program chose.

import { block, facts, make, part } from "./dom.js";
import { ask } from "./api.js";
import { bytes, pretty } from "./text.js";

function shown(preview, url, name) {
  const failed = make("p", { class: "quiet", hidden: true }, "This browser cannot show it. What the simulator makes is no real media.");
  const watch = (element) => {
    element.addEventListener("error", () => { failed.hidden = false; element.hidden = true; });
    return [element, failed];
  };
  switch (preview.show) {
    case "lines": {
      const note = preview.cut && make("p", { class: "quiet" }, "The beginning of it.");
      const text = preview.lines.join("\n");
      return [block(preview.cut ? text : pretty(text) ?? text, `Beginning of ${name}`), note];
    }
    case "image": return watch(make("img", { src: url, alt: `Output ${name}`, loading: "lazy" }));
    case "video": return watch(make("video", { src: url, controls: true, preload: "metadata", "aria-label": name }));
    case "audio": return watch(make("audio", { src: url, controls: true, preload: "metadata", "aria-label": name }));
    default: return [make("p", { class: "quiet" }, "No preview of this type.")];
  }
}

export function outputs(job) {
  return part("Outputs", job.outputs.map((output, at) => {
    const query = new URLSearchParams({ job: job.job_id, at });
    const [url, name] = [`api/output?${query}`, output.key.split("/").at(-1)];
    const preview = make("div", { class: "preview" }, make("p", { class: "quiet" }, "loading"));
    ask(`api/preview?${query}`)
      .then((found) => preview.replaceChildren(...make("div", {}, ...shown(found, url, name)).childNodes))
      .catch((error) => preview.replaceChildren(make("p", { class: "problem" }, error.message)));
    return make("div", { class: "output" },
      make("h4", {}, make("a", { href: url, target: "_blank", rel: "noopener", title: "Opens it by itself" }, name)),
      facts([["Type", output.content_type], ["Size", bytes(output.bytes)], ["Key", output.key], ["SHA-256", output.sha256]]),
      preview);
  }));
}
