"""A runtime API on loopback that hands one event after another to a function's binary, as Lambda does."""

import base64
import hashlib
import hmac
import json
import os
import queue
import subprocess
import tempfile
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATIENCE = 30


def url_event(method, secret=None, webhook_id="", event_type=""):
    """An event of a Function URL; with a secret, a delivery signed with it."""
    headers, body = {}, None
    if secret:
        body = json.dumps({"type": event_type, "version": "v1", "data": {"id": "batches/stack-on-moto"}})
        timestamp = str(int(time.time()))
        key = base64.b64decode(secret.removeprefix("whsec_"))
        digest = hmac.digest(key, f"{webhook_id}.{timestamp}.{body}".encode(), hashlib.sha256)
        headers = {
            "content-type": "application/json",
            "webhook-id": webhook_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": "v1," + base64.b64encode(digest).decode(),
        }
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {"http": {"method": method, "path": "/", "protocol": "HTTP/1.1"}, "timeEpoch": 0},
        "body": body,
        "isBase64Encoded": False,
    }


class FakeRuntime:
    def __init__(self, binary, variables, endpoint, region):
        self.events, self.answers = queue.Queue(), queue.Queue()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        # The function is stopped while it waits for its next event.
        self.server.handle_error = lambda *_: None
        self.log = tempfile.TemporaryFile("w+")
        self.command = [os.path.abspath(binary)]
        self.variables = {
            "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:%d" % self.server.server_port,
            "AWS_LAMBDA_FUNCTION_NAME": "receiver",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_LOG_GROUP_NAME": "receiver",
            "AWS_LAMBDA_LOG_STREAM_NAME": "receiver",
            "AWS_REGION": region,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_ENDPOINT_URL": endpoint,
            **variables,
        }

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.process = subprocess.Popen(
            self.command, env=self.variables, stdout=self.log, stderr=subprocess.STDOUT
        )
        return self

    def __exit__(self, failed, *_):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.server.shutdown()
        if failed:
            print(self.output())

    def output(self):
        self.log.seek(0)
        return self.log.read()

    def invoke(self, event):
        self.events.put(event)
        try:
            kind, answer = self.answers.get(timeout=PATIENCE)
        except queue.Empty:
            raise subprocess.SubprocessError(f"no answer within {PATIENCE} s") from None
        assert kind == "response", answer
        return answer

    def handler(self):
        events, answers = self.events, self.answers

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                body = json.dumps(events.get()).encode()
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", str(uuid.uuid4()))
                self.send_header("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 5000))
                arn = "arn:aws:lambda:eu-central-1:123456789012:function:receiver"
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", arn)
                self.finish_with(body)

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                answers.put((self.path.rsplit("/", 1)[-1], json.loads(body or b"null")))
                self.send_response(202)
                self.finish_with(b"")

            def finish_with(self, body):
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler
