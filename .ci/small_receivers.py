"""Receivers as users write them: one is right, each of the others breaks one rule of Standard Webhooks in a known way.

    small_receivers.py NAME SECRET    serves the receiver of that name, and prints its address
"""

import base64
import hashlib
import hmac
import http.server
import json
import sqlite3
import sys
import threading
import time

from standardwebhooks import Webhook, WebhookVerificationError

processed = sqlite3.connect(":memory:", check_same_thread=False)
processed.execute("CREATE TABLE events (id TEXT PRIMARY KEY, body BLOB)")
lock = threading.Lock()


def signatures(secret, headers, body):
    """The signature that is expected, and those that came."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()
    entries = [entry.partition(",") for entry in headers["webhook-signature"].split()]
    return expected, [signature for version, _, signature in entries if version == "v1"]


def all_headers(headers):
    return all(headers.get(f"webhook-{name}") for name in ("id", "timestamp", "signature"))


def officially(secret, headers, body):
    try:
        Webhook(secret).verify(body, headers)
        return True
    except (WebhookVerificationError, ValueError):
        # The library's Python version lets the error of the base64 decoder through where a signature is cut.
        return False


def without_time(secret, headers, body):
    """Verifies the signature by hand, and forgets that an old one can be sent again."""
    if not all_headers(headers):
        return False
    expected, came = signatures(secret, headers, body)
    return any(hmac.compare_digest(expected, signature) for signature in came)


def as_far_as_it_goes(secret, headers, body):
    """Compares only as many characters as came: `zip` ends with the shorter text, so a cut signature is enough."""
    if not all_headers(headers) or not is_recent(headers):
        return False
    expected, came = signatures(secret, headers, body)
    return any(all(a == b for a, b in zip(expected, signature)) for signature in came)


def is_recent(headers):
    timestamp = headers["webhook-timestamp"]
    return timestamp.isdigit() and abs(int(timestamp) - time.time()) <= 300


def store_once(headers, body):
    with lock:
        processed.execute("INSERT OR IGNORE INTO events VALUES (?, ?)", (headers["webhook-id"], body))
    return 204


def store_and_crash(headers, body):
    """Does not expect a duplicate. The key of its table does, and the error becomes a 500."""
    try:
        with lock:
            processed.execute("INSERT INTO events VALUES (?, ?)", (headers["webhook-id"], body))
    except sqlite3.IntegrityError:
        return 500
    return 204


RECEIVERS = {
    "right": (officially, store_once),
    "no-time": (without_time, store_once),
    "cut-signature": (as_far_as_it_goes, store_once),
    "duplicate-crashes": (officially, store_and_crash),
}


def serve(name, secret):
    verify, store = RECEIVERS[name]

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {key.lower(): value for key, value in self.headers.items()}
            self.send_response(store(headers, body) if verify(secret, headers, body) else 401)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    print(json.dumps({"url": f"http://127.0.0.1:{server.server_port}/hook"}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(*sys.argv[1:])
