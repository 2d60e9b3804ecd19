"""Does with Google's SDK what a user of webhooks does, and looks at what arrives."""

import http.server
import json
import queue
import sys
import threading

from gemhook_dev import check
from google.genai import types
from standardwebhooks import Webhook


def check_gone(what, ask):
    try:
        ask()
    except Exception as error:  # Its class differs between versions of the SDK.
        check(f"{what} deleted", "404" in str(error) or "not found" in str(error), True)
    else:
        sys.exit(f"a deleted {what} is still there")


def listen():
    """A webhook's receiver: where it is, and a queue of what came."""
    came = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            came.put(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/hook", came


def received(came, secret):
    """The next event, verified. The library raises where the signature is wrong."""
    headers, body = came.get(timeout=30)
    return Webhook(secret).verify(body, headers)


def use_webhooks(client):
    url, came = listen()
    made = client.webhooks.create(
        name="MyBatchWebhook", uri=url, subscribed_events=["batch.succeeded", "batch.failed"]
    )
    check("state", made.state, "enabled")
    secret = made.new_signing_secret
    got = client.webhooks.get(id=made.id)
    check("secret told again", got.new_signing_secret, None)
    check("truncated", got.signing_secrets[0].truncated_secret, "whsec_..." + secret[-4:])
    check("listed", made.id in [webhook.id for webhook in client.webhooks.list().webhooks], True)

    client.webhooks.ping(id=made.id)
    check("ping", received(came, secret)["type"], "ping")
    changed = client.webhooks.update(id=made.id, subscribed_events=["batch.succeeded"])
    check("changed", changed.subscribed_events, ["batch.succeeded"])
    rotated = client.webhooks.rotate_signing_secret(
        id=made.id, revocation_behavior="revoke_previous_secrets_after_h24"
    )

    job = client.batches.create(
        model="gemini-flash",
        src=[types.InlinedRequest(contents="one two")],
        config={"display_name": "sdk"},
    )
    event = received(came, rotated.secret)
    check("event", (event["type"], event["data"]["id"]), ("batch.succeeded", job.name))
    done = client.batches.get(name=job.name)
    check("batch listed", job.name in [batch.name for batch in client.batches.list()], True)
    check("answer", done.dest.inlined_responses[0].response.text, "echo: one two")

    client.batches.create(
        model="gemini-flash",
        src=[types.InlinedRequest(contents="three")],
        config={"webhook_config": {"uris": [f"{url}/own"], "user_metadata": {"group": "nightly"}}},
    )
    headers, body = came.get(timeout=30)
    check("own address", json.loads(body)["user_metadata"], {"group": "nightly"})

    client.webhooks.delete(id=made.id)
    check_gone("webhook", lambda: client.webhooks.get(id=made.id))
    client.batches.delete(name=job.name)
    check_gone("batch", lambda: client.batches.get(name=job.name))
