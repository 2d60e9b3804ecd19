"""A receiver that verifies with the official library, and prints a line of JSON for each delivery.

It prints its address, reads the signing secret from its standard input, and answers from then on.
"""

import http.server
import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError


class Receiver(http.server.BaseHTTPRequestHandler):
    secret = None

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            event = Webhook(self.secret).verify(body, headers)
            seen = {"verified": True, "type": event["type"], "id": headers["webhook-id"]}
        except WebhookVerificationError as error:
            seen = {"verified": False, "error": str(error)}
        print(json.dumps(seen), flush=True)
        self.send_response(204 if seen["verified"] else 400)
        self.end_headers()

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    print(json.dumps({"url": f"http://127.0.0.1:{server.server_port}/hook"}), flush=True)
    Receiver.secret = sys.stdin.readline().strip()
    server.serve_forever()
