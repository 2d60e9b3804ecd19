// Values as people read them.

// As the program escapes it for a terminal: what has no shape, or turns the text beside it around.
const UNSAFE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

export const plain = (text) => String(text).replace(UNSAFE, (char) => `\\u{${char.codePointAt(0).toString(16)}}`);

// In UTC, to the second.
export const time = (at) =>
  typeof at === "number" && Number.isFinite(at) && Math.abs(at) < 8.64e15
    ? new Date(at).toISOString().replace("T", " ").slice(0, 19) : "-";

// Without the day where that is today.
export function shortTime(at) {
  const whole = time(at);
  return whole.startsWith(new Date().toISOString().slice(0, 10)) ? whole.slice(11) : whole;
}

// With milliseconds, for what follows one upon the other.
export const exactTime = (at) => `${shortTime(at)}.${String(at % 1000).padStart(3, "0")}`;

export function span(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 7_200_000) return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
  return `${Math.floor(ms / 3_600_000)} h ${Math.floor((ms % 3_600_000) / 60_000)} min`;
}

export function bytes(count) {
  if (count < 10_000) return `${count} bytes`;
  const units = ["KB", "MB", "GB", "TB"];
  let at = -1;
  while (count >= 1000 && at < units.length - 1) { count /= 1000; at++; }
  return `${count.toFixed(1)} ${units[at]}`;
}

export const end = (row) => (row.outcome ? `${row.state}/${row.outcome}` : row.state ?? "-");
export const jobOf = (row) => row.job ?? row.job_id ?? row.job_hint ?? "";
// For the shell, whatever the text holds.
export const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return undefined; }
}

// good, bad, open or quiet: how an end or a state is coloured. The word itself stands beside the colour.
export function mood(word) {
  if (/fail|expired|error|gone|disabled/i.test(word)) return "bad";
  if (/archived|succeeded|completed|enabled/i.test(word)) return "good";
  if (/^(received|archiving|waiting|open|.*running.*)$/i.test(word)) return "open";
  return "quiet";
}
