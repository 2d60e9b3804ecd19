"""The official libraries, in Python and JavaScript, verify what the simulator, `trigger`, `replay` and `forward` send.

    official_deliveries.py GEMHOOK PACKAGES    where PACKAGES has the JavaScript library
"""

import contextlib
import json
import queue
import subprocess
import sys
import threading
import urllib.request

from gemhook_dev import check, dev

OTHER_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """A running receiver: where it is, and what it has printed."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = json.loads(self.process.stdout.readline())["url"]
        self.seen = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.seen.put(json.loads(line))

    def know(self, secret):
        self.process.stdin.write(secret + "\n")
        self.process.stdin.flush()

    def next(self):
        return self.seen.get(timeout=30)


@contextlib.contextmanager
def receiver(command, secret=None):
    started = Receiver(command)
    try:
        if secret:
            started.know(secret)
        yield started
    finally:
        started.process.kill()
        started.process.wait()


def call(at, path, body):
    headers = {"x-goog-api-key": "any", "content-type": "application/json"}
    request = urllib.request.Request(f"{at['gemini_url']}/v1beta/{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def run(gemhook, at, *arguments):
    """The exit status and the JSON of a command on this machine."""
    command = [gemhook, *arguments, "--json", f"--local={at['data_dir']}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, json.loads(done.stdout)


def from_the_simulator(at, command):
    with receiver(command) as receives:
        made = call(at, "webhooks", {"name": "official", "uri": receives.url, "subscribed_events": ["batch.succeeded"]})
        receives.know(made["new_signing_secret"])
        requests = [{"request": {"contents": [{"parts": [{"text": "one"}]}]}}]
        batch = {"displayName": "official", "inputConfig": {"requests": {"requests": requests}}}
        call(at, "models/any:batchGenerateContent", {"batch": batch})
        seen = receives.next()
        check("simulator", (seen["verified"], seen.get("type")), (True, "batch.succeeded"))
        request = urllib.request.Request(f"{at['gemini_url']}/v1beta/webhooks/{made['id']}", method="DELETE")
        request.add_header("x-goog-api-key", "any")
        urllib.request.urlopen(request, timeout=30).close()


def from_trigger(gemhook, at, command):
    with receiver(command, at["webhook_secret"]) as receives:
        status, told = run(gemhook, at, "trigger", "video.generated", "--to", receives.url)
        expected = {"verified": True, "type": "video.generated", "id": told["webhook_id"]}
        check("trigger", (status, receives.next()), (0, expected))


def from_replay(gemhook, at, command, recorded):
    with receiver(command, at["webhook_secret"]) as receives:
        status, _ = run(gemhook, at, "replay", recorded, "--to", receives.url)
        expected = {"verified": True, "type": "orchard.ripened", "id": recorded}
        check("replay", (status, receives.next()), (0, expected))


def from_forward(gemhook, at, command):
    with receiver(command, at["webhook_secret"]) as receives:
        watch = [gemhook, "deliveries", "watch", "--forward-to", receives.url, "--json", f"--local={at['data_dir']}"]
        forwards = subprocess.Popen(watch, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            # It forwards what is new from this line on.
            check("watches", forwards.stderr.readline().startswith("watching"), True)
            status, told = run(gemhook, at, "trigger", "orchard.ripened")
            expected = {"verified": True, "type": "orchard.ripened", "id": told["webhook_id"]}
            check("forward", (status, receives.next()), (0, expected))
        finally:
            forwards.terminate()
            forwards.wait(timeout=30)


def with_another_secret(gemhook, at, command):
    """What verifies above must be able to fail."""
    with receiver(command, OTHER_SECRET) as receives:
        status, told = run(gemhook, at, "trigger", "ping", "--to", receives.url)
        seen = receives.next()
        check("another secret", (status, told["status"], seen["verified"]), (1, 400, False))
        print(f"  it says: {seen['error']}")


def main(gemhook, packages):
    commands = {
        "Python": [sys.executable, ".ci/official_receiver.py"],
        "JavaScript": ["node", ".ci/official_receiver.mjs", packages],
    }
    with dev(gemhook, "--finish-after", "0.1") as at:
        status, told = run(gemhook, at, "trigger", "orchard.ripened")
        check("recorded", status, 0)
        for language, command in commands.items():
            print(f"The official library in {language}")
            from_the_simulator(at, command)
            from_trigger(gemhook, at, command)
            from_replay(gemhook, at, command, told["webhook_id"])
            from_forward(gemhook, at, command)
            with_another_secret(gemhook, at, command)


if __name__ == "__main__":
    main(*sys.argv[1:])
