"""Runs both functions under `cargo lambda watch`, on the stores of `gemhook dev`, and invokes them as their users would.

Usage: invoke.py GEMHOOK_BINARY, with cargo lambda on PATH.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

# As told in events/README.md.
SAMPLES_SECRET = "whsec_Z2VtaG9vayBleGFtcGxlLCBwcm90ZWN0cyBub3RoaW5n"
COMPILES_WITHIN = 1200


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment(command, folder):
    """What `gemhook env` prints, which also accepts the samples' signatures."""
    printed = subprocess.run([*command, "env", f"--local={folder}"], stdout=subprocess.PIPE, text=True, check=True)
    lines = printed.stdout.replace('WEBHOOK_SECRET="', f'WEBHOOK_SECRET="{SAMPLES_SECRET} ', 1)
    file = pathlib.Path(folder, "env")
    file.write_text(lines, encoding="utf-8")
    return str(file)


class Watch:
    def __init__(self, file):
        self.port = free_port()
        command = ["cargo", "lambda", "watch", "-A", "127.0.0.1", "-P", str(self.port), "--ignore-changes", "--env-file", file]
        self.process = subprocess.Popen(command, start_new_session=True)

    def url(self, function):
        return f"http://127.0.0.1:{self.port}/lambda-url/{function}/"

    def wait(self):
        """The first call of a function compiles it."""
        until = time.monotonic() + COMPILES_WITHIN
        while time.monotonic() < until:
            assert self.process.poll() is None, "cargo lambda watch has ended"
            try:
                with urllib.request.urlopen(self.url("receiver"), timeout=COMPILES_WITHIN) as answer:
                    return answer.status
            except (urllib.error.URLError, ConnectionError):
                time.sleep(1)
        sys.exit("the receiver did not start")

    def invoke(self, function, event):
        command = ["cargo", "lambda", "invoke", function, "-A", "127.0.0.1", "-P", str(self.port), "--data-file", event]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=COMPILES_WITHIN, check=True)
        return json.loads(done.stdout)

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(timeout=30)


def check(what, found, expected):
    print(f"{what}: {found}")
    if found != expected:
        sys.exit(f"{what}: expected {expected}")


def main(gemhook, folder):
    command = [gemhook, "dev", "--json", "--port", "0", "--finish-after", "0.1", "--data", folder]
    dev = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    dev.stdout.readline()
    watch = Watch(environment([gemhook], folder))
    try:
        check("GET", watch.wait(), 200)
        for sample in sorted(pathlib.Path("events").glob("receiver.*.json")):
            check(sample.name, watch.invoke("receiver", str(sample))["statusCode"], 401)
        check("its state is read", watch.invoke("archiver", "events/archiver.received.json"), {"records": 1})
        check("redriven", watch.invoke("archiver", "events/archiver.redriven.json"), {"records": 1})
        check("sweep", sorted(watch.invoke("archiver", "events/archiver.sweep.json"))[0], "due")
        check("reconcile", sorted(watch.invoke("archiver", "events/archiver.reconcile.json"))[:3], ["disabled_webhooks", "ended", "entered"])

        event = pathlib.Path(folder, "event.json")
        printed = [gemhook, "trigger", "orchard.ripened", "--print", "lambda", "--id", "msg_fresh", f"--local={folder}"]
        event.write_bytes(subprocess.run(printed, stdout=subprocess.PIPE, check=True).stdout)
        for told in ("a fresh event", "its duplicate"):
            check(told, watch.invoke("receiver", str(event))["statusCode"], 200)
        sent = [gemhook, "trigger", "orchard.ripened", "--to", watch.url("receiver"), f"--local={folder}"]
        check("one sent to the function's URL", subprocess.run(sent).returncode, 0)
        shown = [gemhook, "deliveries", f"--local={folder}", "list", "--json"]
        for _ in range(100):
            listed = subprocess.run(shown, stdout=subprocess.PIPE, text=True, check=True).stdout
            rows = json.loads(listed)
            if len(rows) == 2 and all(row["state"] == "done" for row in rows):
                break
            time.sleep(0.1)
        check("rows", sorted(row["outcome"] for row in rows), ["recorded", "recorded"])
    finally:
        watch.stop()
        dev.terminate()
        dev.wait(timeout=30)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(sys.argv[1], folder)
