"""`gemhook check-receiver` finds exactly the fault that each receiver of `small_receivers.py` has.

    check_receivers.py GEMHOOK
"""

import json
import subprocess
import sys

from gemhook_dev import check

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BROKEN = {
    "right": [],
    "no-time": ["old timestamp", "future timestamp"],
    "cut-signature": ["wrong signature"],
    "duplicate-crashes": ["duplicate"],
}
RULES = 13


def ask(gemhook, url, *more):
    # Slow machines must not make a receiver look slow.
    command = [gemhook, "check-receiver", url, "--secret", SECRET, "--within", "25s", *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def in_table(text, verdict):
    """The rules that have this verdict in the table that people read."""
    rows = [line.split("  ") for line in text.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    return [row[0] for row in cells if len(row) > 1 and row[1] == verdict]


def judge(gemhook, name, broken):
    command = [sys.executable, ".ci/small_receivers.py", name, SECRET]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serves:
        try:
            url = json.loads(serves.stdout.readline())["url"]
            told = ask(gemhook, url, "--json")
            rules = {rule["rule"]: rule["verdict"] for rule in json.loads(told.stdout)["rules"]}
            check(name, [rule for rule, verdict in rules.items() if verdict == "broken"], broken)
            check("  kept", sum(verdict == "kept" for verdict in rules.values()), RULES - len(broken))
            check("  exit status", told.returncode, int(bool(broken)))
            shown = ask(gemhook, url)
            print(shown.stdout)
            check("  in the table", in_table(shown.stdout, "BROKEN"), broken)
            check("  exit status", shown.returncode, int(bool(broken)))
        finally:
            serves.kill()


if __name__ == "__main__":
    for receiver, rules in BROKEN.items():
        judge(sys.argv[1], receiver, rules)
