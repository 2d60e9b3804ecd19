"""Puts the results in words: a table, ratios, a plot, and the page they stand on."""

import datetime
import pathlib
import platform
import re

from build import OURS

PAGE, PLOT = pathlib.Path("docs/benchmarks.md"), pathlib.Path("docs/benchmarks.svg")
MARKS = ("<!-- written by benches/peers/run -->", "<!-- end -->")

LABELS = {
    "floor": "empty Rust function (floor)",
    "least-work": "least work: HMAC and one hand-signed PutItem",
    "plain-rust": "plain Rust, defaults",
    "node": "lean Node, bundled",
    "node-powertools": "Node, Powertools, bundled",
    "python": "Python, Powertools",
    OURS: "**gemhook**",
}

# Title, figure, digits.
COST = [
    ("start ms", "start ms", 1),
    ("start ms, HTTPS", "start ms https", 1),
    ("first event ms", "first ms https", 1),
    ("cold CPU ms", "cold cpu ms", 1),
    ("cold CPU ms, HTTPS", "cold cpu ms https", 1),
    ("new, CPU us", "new cpu us", 0),
    ("new, CPU us, HTTPS", "new cpu us https", 0),
    ("duplicate, CPU us", "duplicate cpu us", 0),
    ("forged, CPU us", "forged cpu us", 0),
    ("peak MiB", "peak MiB https", 1),
    ("zip MB", "zip MB", 2),
]
LATENCY = [
    *((f"{kind}, {part} us", f"{kind} {part} us", 0) for kind in ("new", "duplicate", "forged") for part in ("p50", "p99")),
    *((f"requests, {kind}", f"{kind} requests", 0) for kind in ("new", "duplicate", "forged")),
]


def rows(results, columns):
    lines = ["| | " + " | ".join(title for title, _, _ in columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for name, figures in results.items():
        # What has no HTTPS has its one figure over HTTP.
        values = [figures.get(key, figures.get(key.removesuffix(" https")) if "peak" in key else None) for _, key, _ in columns]
        texts = ["" if value is None else f"{value:,.{digits}f}" for value, (_, _, digits) in zip(values, columns)]
        lines.append(f"| {LABELS.get(name, name)} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def ratios(results):
    if OURS not in results:
        return ""
    ours, lines = results[OURS], []
    for title, key, _ in COST:
        parts = []
        for other, label in [("floor", "floor"), ("least-work", "least work"), ("plain-rust", "plain Rust"), ("node", "lean Node"), ("python", "Python")]:
            theirs = results.get(other, {}).get(key)
            parts.append(f"{ours[key] / theirs:.2f}" if theirs and ours.get(key) else "")
        lines.append(f"| {title} | " + " | ".join(parts) + " |")
    head = "| gemhook's, as a multiple of | floor | least work | plain Rust | lean Node | Python |\n| --- |" + " ---: |" * 5
    return "\n".join([head, *lines])


def table(results):
    return "\n\n".join([rows(results, COST), ratios(results), rows(results, LATENCY)])


def instructions(results):
    lines = ["| thousands of instructions | start | start and first event | new | forged |", "| --- |" + " ---: |" * 4]
    for name, figures in results.items():
        texts = ["" if value is None else f"{value / 1e3:,.0f}" for value in figures.values()]
        lines.append(f"| {LABELS.get(name, name)} | " + " | ".join(texts) + " |")
    return "\n".join(lines)


def plot(results):
    """Bars on a logarithmic scale, one group for each of the main figures."""
    groups = [("cold CPU, ms (HTTPS)", "cold cpu ms https"), ("new event, CPU us", "new cpu us"), ("forged event, CPU us", "forged cpu us"), ("peak MiB", "peak MiB https"), ("zip MB", "zip MB")]
    parts, top = [], 10
    for title, key in groups:
        bars = [(name, figures[key]) for name, figures in results.items() if figures.get(key)]
        low = min(value for _, value in bars) / 2
        high = max(value for _, value in bars)
        parts.append(f'<text x="10" y="{top + 14}" font-weight="bold">{title}, logarithmic</text>')
        top += 22
        for name, value in bars:
            # From half of the least to the most.
            width = 10 + 430 * _position(value, low, high)
            colour = "#1a7f37" if name == OURS else "#8c959f"
            label = re.sub(r"[*]", "", LABELS.get(name, name)).split(":")[0]
            parts.append(f'<text x="205" y="{top + 12}" text-anchor="end">{label}</text>')
            parts.append(f'<rect x="212" y="{top}" width="{width:.0f}" height="15" fill="{colour}"/>')
            parts.append(f'<text x="{218 + width:.0f}" y="{top + 12}">{value:,.3g}</text>' if value < 1000 else f'<text x="{218 + width:.0f}" y="{top + 12}">{value:,.0f}</text>')
            top += 19
        top += 12
    style = 'font-family="sans-serif" font-size="12"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{top}" {style}><rect width="720" height="{top}" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n"


def _position(value, low, high):
    from math import log

    return log(value / low) / log(high / low)


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    import os

    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores" + (f" ({model[1]})" if model else "")


def write(results, rounds, events):
    start, end = MARKS
    text = PAGE.read_text()
    head, _, rest = text.partition(start)
    _, _, tail = rest.partition(end)
    said = f"Measured on {datetime.date.today()} on {machine()}: {rounds} rounds, {events} warm events of each kind in each."
    PAGE.write_text(f"{head}{start}\n\n{said}\n\n{table(results)}\n\n![the main figures as bars]({PLOT.name})\n\n{end}{tail}")
    PLOT.write_text(plot(results))
