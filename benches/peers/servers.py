"""The two servers that every peer talks to, on loopback: the Runtime API and what is needed of DynamoDB.

Both answer over kept connections with as little work as can be. DynamoDB is a process of its own, so that it takes
nothing from the clock of the Runtime API; over HTTPS it shows a certificate of an authority made for the run.
"""

import json
import re
import select
import socket
import ssl
import sys
import threading
import time
import uuid
import zlib


class Connection:
    """One kept HTTP/1.1 connection: reads whole requests, writes whole answers."""

    def __init__(self, stream):
        self.stream, self.held = stream, b""

    def read(self):
        """The next request as (first line, headers, body), or nothing at the end of the connection."""
        head = self._until(b"\r\n\r\n")
        if head is None:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if headers.get("expect") == "100-continue":
            self.stream.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in headers.get("transfer-encoding", ""):
            body = b""
            while size := int(self._until(b"\r\n").split(b";")[0], 16):
                body += self._take(size)
                self._take(2)
            self._until(b"\r\n")
        else:
            body = self._take(int(headers.get("content-length", 0)))
        return first, headers, body

    def write(self, status, headers, body):
        lines = [f"HTTP/1.1 {status} -", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.stream.sendall("\r\n".join([*lines, "", ""]).encode() + body)

    def _fill(self):
        more = self.stream.recv(65536)
        self.held += more
        return bool(more)

    def _until(self, end):
        while end not in self.held:
            if not self._fill():
                return None
        head, _, self.held = self.held.partition(end)
        return head

    def _take(self, size):
        while len(self.held) < size:
            if not self._fill():
                raise ConnectionError("the body is cut short")
        body, self.held = self.held[:size], self.held[size:]
        return body


class RuntimeApi:
    """Hands events to one function, one after another, in the thread of the caller."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.connections, self.waiting = {}, None

    def close(self):
        for connection in [self.listener, *self.connections]:
            connection.close()

    def poll(self, patience=60):
        """Waits until the function asks for its next event. Returns the answer that it sent before, if any."""
        answer, deadline = None, time.monotonic() + patience
        while self.waiting is None:
            ready, _, _ = select.select([self.listener, *self.connections], [], [], deadline - time.monotonic())
            if not ready:
                raise TimeoutError("the function did not ask for an event")
            for stream in ready:
                if stream is self.listener:
                    accepted, _ = stream.accept()
                    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.connections[accepted] = Connection(accepted)
                    continue
                connection = self.connections[stream]
                try:
                    request = connection.read()
                except ConnectionError:
                    request = None
                if request is None:
                    del self.connections[stream]
                    stream.close()
                    continue
                first, _, body = request
                if "/invocation/next" in first:
                    self.waiting = connection
                elif first.split()[1].endswith("/response"):
                    self.answered = time.perf_counter()
                    connection.write(202, {}, b"")
                    answer = json.loads(body)
                else:
                    raise RuntimeError(f"{first}: {body[:500]}")
        return answer

    def invoke(self, event):
        """The function's answer, and how many seconds it took to give it."""
        connection, self.waiting = self.waiting, None
        headers = {
            "content-type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": str(uuid.uuid4()),
            "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 60_000),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:123456789012:function:receiver",
            "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0",
        }
        sent = time.perf_counter()
        connection.write(200, headers, event)
        answer = self.poll()
        return answer, self.answered - sent


class DynamoDb:
    """PutItem whose condition is that the key is new, UpdateItem by SET, GetItem; and GetSecretValue."""

    def __init__(self, key, secret):
        self.key, self.secret, self.lock = key, secret, threading.Lock()
        self.rows, self.requests = {}, 0

    def answer(self, target, body):
        if target == "Bench.Count":
            return 200, {"requests": self.requests}
        if not target:
            # To GET / by anybody, as DynamoDB's endpoints answer.
            return 200, "healthy: dynamodb.us-east-1.amazonaws.com"
        request = json.loads(body)
        operation = target.partition(".")[2]
        if operation == "GetSecretValue":
            return 200, {"ARN": request["SecretId"], "Name": "signing", "SecretString": self.secret}
        with self.lock:
            self.requests += 1
            return getattr(self, operation)(request)

    def PutItem(self, request):
        key = request["Item"][self.key]["S"]
        if key not in self.rows:
            self.rows[key] = request["Item"]
            return 200, {}
        name = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"
        refused = {"__type": name, "message": "The conditional request failed"}
        if request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
            refused["Item"] = self.rows[key]
        return 400, refused

    def UpdateItem(self, request):
        row = self.rows.setdefault(request["Key"][self.key]["S"], dict(request["Key"]))
        for name, value in re.findall(r"(#?\w+) = (:\w+)", request["UpdateExpression"]):
            name = request.get("ExpressionAttributeNames", {}).get(name, name)
            row[name] = request["ExpressionAttributeValues"][value]
        return 200, {}

    def GetItem(self, request):
        row = self.rows.get(request["Key"][self.key]["S"])
        return 200, {"Item": row} if row else {}

    def serve(self, listener, context=None):
        while True:
            stream, _ = listener.accept()
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.talk, args=(stream, context), daemon=True).start()

    def talk(self, stream, context):
        try:
            if context:
                stream = context.wrap_socket(stream, server_side=True)
            connection = Connection(stream)
            while request := connection.read():
                _, headers, body = request
                status, answer = self.answer(headers.get("x-amz-target", ""), body)
                answer = json.dumps(answer).encode()
                headers = {
                    "content-type": "application/x-amz-json-1.0",
                    "x-amzn-requestid": "7J3ERDAMV1D2U5LKTJ8HVPLHSVVV4KQNSO5AEMVJF66Q9ASUAAJG",
                    "x-amz-crc32": zlib.crc32(answer),
                }
                connection.write(status, headers, answer)
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            stream.close()


def main(key, secret, certificate, private_key):
    """Serves until standard input ends. Prints the ports for HTTP and HTTPS."""
    store = DynamoDb(key, secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private_key)
    ports = []
    for protect in (None, context):
        listener = socket.create_server(("127.0.0.1", 0))
        ports.append(listener.getsockname()[1])
        threading.Thread(target=store.serve, args=(listener, protect), daemon=True).start()
    print(*ports, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
