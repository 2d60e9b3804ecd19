"""Launches peers by turns, hands them events, and reads from the kernel what each cost."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import pathlib
import re
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

from build import HOME, SOURCE
from servers import RuntimeApi

SECRET = "whsec_" + base64.b64encode(b"a secret that measures only!").decode()
TABLE = "deliveries"
WARM_UP = 100
BODY = json.dumps(
    {
        "type": "batch.succeeded",
        "version": "v1",
        "timestamp": "2026-05-28T20:26:30Z",
        "data": {
            "id": "batches/o08hk76gv328ihxcssjsgwt3g6omtfysxi46",
            "output_file_uri": "files/batch-o08hk76gv328ihxcssjsgwt3g6omtfysxi46",
        },
    }
)


def event(id, secret=SECRET):
    """A delivery as a Function URL hands it over."""
    timestamp = str(int(time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{id}.{timestamp}.{BODY}".encode(), hashlib.sha256)
    host = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws"
    http = {"method": "POST", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1"}
    return json.dumps(
        {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/",
            "rawQueryString": "",
            "headers": {
                "accept": "*/*",
                "accept-encoding": "gzip, deflate, br",
                "content-length": str(len(BODY)),
                "content-type": "application/json",
                "host": host,
                "user-agent": "Google-Gemini-Webhooks",
                "webhook-id": id,
                "webhook-signature": "v1," + base64.b64encode(digest).decode(),
                "webhook-timestamp": timestamp,
                "x-amzn-tls-cipher-suite": "TLS_AES_128_GCM_SHA256",
                "x-amzn-tls-version": "TLSv1.3",
                "x-amzn-trace-id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
                "x-forwarded-for": "192.0.2.1",
                "x-forwarded-port": "443",
                "x-forwarded-proto": "https",
            },
            "requestContext": {
                "accountId": "anonymous",
                "apiId": host.split(".")[0],
                "domainName": host,
                "domainPrefix": host.split(".")[0],
                "http": {**http, "userAgent": "Google-Gemini-Webhooks"},
                "requestId": str(uuid.uuid4()),
                "routeKey": "$default",
                "stage": "$default",
                "time": "28/May/2026:20:26:40 +0000",
                "timeEpoch": 1780000000000,
            },
            "body": BODY,
            "isBase64Encoded": False,
        }
    ).encode()


def authority():
    """A certificate for loopback, and a bundle of this machine's roots and the one that signed it."""
    home = HOME / "tls"
    if not (home / "few.pem").exists():
        home.mkdir(parents=True, exist_ok=True)

        def openssl(arguments):
            subprocess.run(["openssl", *arguments.split()], cwd=home, check=True, capture_output=True)

        openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 3650 -subj /CN=bench")
        openssl("req -newkey rsa:2048 -nodes -keyout leaf.key -out leaf.csr -subj /CN=localhost")
        (home / "san.cnf").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n")
        openssl("x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -days 3650 -extfile san.cnf -out leaf.pem")
        roots = pathlib.Path(ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt")
        (home / "bundle.pem").write_text(roots.read_text() + (home / "ca.pem").read_text())
        aws = pathlib.Path("src/aws_roots.pem").read_text()
        (home / "few.pem").write_text(aws + (home / "ca.pem").read_text())
    return home


class Stores:
    """DynamoDB in a process of its own."""

    def __enter__(self):
        tls = authority()
        command = [sys.executable, str(SOURCE / "servers.py"), "webhook_id", SECRET, tls / "leaf.pem", tls / "leaf.key"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        http, https = self.process.stdout.readline().split()
        self.endpoints = {False: f"http://127.0.0.1:{http}", True: f"https://127.0.0.1:{https}"}
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(10)

    def requests(self):
        from urllib.request import Request, urlopen

        asked = Request(self.endpoints[False], b"{}", {"x-amz-target": "Bench.Count"})
        return json.load(urlopen(asked))["requests"]


class Function:
    """One launch of a peer. Its clock is the kernel's for the process, threads that ended included."""

    def __init__(self, peer, stores, https, wrap=()):
        self.peer, self.api, self.wrap = peer, RuntimeApi(), list(wrap)
        tls = authority()
        self.variables = {
            "PATH": os.environ["PATH"],
            "AWS_LAMBDA_RUNTIME_API": self.api.address,
            "AWS_LAMBDA_FUNCTION_NAME": "receiver",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_LOG_GROUP_NAME": "receiver",
            "AWS_LAMBDA_LOG_STREAM_NAME": "receiver",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_ENDPOINT_URL": stores.endpoints[https],
            "DELIVERIES_TABLE": TABLE,
            "WEBHOOK_SECRET": SECRET,
            # Rust's native store and Python; Node has its roots built in and takes more.
            "SSL_CERT_FILE": str(tls / ("few.pem" if peer.few_roots else "bundle.pem")),
            "AWS_CA_BUNDLE": str(tls / "bundle.pem"),
            "NODE_EXTRA_CA_CERTS": str(tls / "ca.pem"),
            **peer.variables,
        }

    def __enter__(self):
        self.log = tempfile.TemporaryFile("w+")
        launched = time.perf_counter()
        self.process = subprocess.Popen(
            self.wrap + self.peer.command,
            env=self.variables,
            cwd=self.peer.cwd,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        try:
            self.api.poll()
        except Exception:
            self.__exit__(True)
            raise
        self.start_seconds = time.perf_counter() - launched
        return self

    def __exit__(self, failed, *_):
        self.process.terminate()
        self.process.wait(60)
        self.api.close()
        if failed:
            self.log.seek(0)
            print(self.peer.name, self.log.read()[-3000:], sep="\n", file=sys.stderr)
        self.log.close()

    def cpu(self):
        """Seconds of processor time that the process has had, by the clock that clock_getcpuclockid(3) names."""
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def peak_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024

    def send(self, kind, count, known=()):
        """Sends so many events of a kind. Returns the ids and each answer's seconds."""
        ids = [known[at % len(known)] if known else f"msg_{uuid.uuid4().hex}" for at in range(count)]
        secret = SECRET if kind != "forged" else "whsec_" + base64.b64encode(b"another one, of a stranger!!").decode()
        expected = 401 if kind == "forged" and self.peer.checks else 200
        seconds = []
        for id in ids:
            answer, took = self.api.invoke(event(id, secret))
            assert answer["statusCode"] == expected, f"{self.peer.name}: {kind}: {answer}"
            seconds.append(took)
        return ids, seconds


def launch(peer, stores, https, events):
    """One launch: what start, first event and warm events cost, by name of the figure."""
    with Function(peer, stores, https) as function:
        figures = {"start ms": function.start_seconds * 1e3}
        _, first = function.send("new", 1)
        figures["first ms"], figures["cold cpu ms"] = first[0] * 1e3, function.cpu() * 1e3
        function.send("new", WARM_UP)
        known = ()
        for kind in ["new", "duplicate", "forged"]:
            asked, used = stores.requests(), function.cpu()
            ids, seconds = function.send(kind, events, known if kind == "duplicate" else ())
            known = known or ids
            figures[f"{kind} cpu us"] = (function.cpu() - used) / events * 1e6
            figures[f"{kind} p50 us"] = statistics.median(seconds) * 1e6
            figures[f"{kind} p99 us"] = statistics.quantiles(seconds, n=100)[98] * 1e6
            figures[f"{kind} requests"] = (stores.requests() - asked) / events
        figures["peak MiB"] = function.peak_bytes() / 2**20
        return figures


def measure(peers, rounds, events):
    """Medians over the rounds, by peer, by figure; each figure over HTTP and, with a mark, over HTTPS."""
    taken = {peer.name: {} for peer in peers}
    with Stores() as stores:
        for turn in range(rounds):
            print(f"round {turn + 1} of {rounds}", file=sys.stderr)
            for peer in peers:
                for https in [False, True] if peer.https else [False]:
                    for name, value in launch(peer, stores, https, events).items():
                        taken[peer.name].setdefault(name + " https" * https, []).append(value)
    results = {name: {key: statistics.median(values) for key, values in all.items()} for name, all in taken.items()}
    for peer in peers:
        results[peer.name]["zip MB"] = peer.zip_bytes() / 1e6
    return results


def instructions(peers, counts=(50, 250)):
    """Instructions of a start, of start and first event, and of one warm event, by callgrind. All over HTTP."""
    with Stores() as stores:

        def total(peer, https, sent):
            with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
                out = f"{folder}/out"
                wrap = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}"]
                function = stack.enter_context(Function(peer, stores, https, wrap))
                # The first event may run out of its time under valgrind.
                while sent and function.api.invoke(event(f"msg_{uuid.uuid4().hex}"))[0]["statusCode"] != 200:
                    pass
                for kind, count in sent:
                    function.send(kind, count)
                stack.close()
                return int(re.search(r"^(?:summary|totals): (\d+)", pathlib.Path(out).read_text(), re.M)[1])

        results = {}
        for peer in peers:
            start = total(peer, False, [])
            few, many = ([("new", count)] for count in counts)
            base = total(peer, False, few)
            each = counts[1] - counts[0]
            results[peer.name] = {
                "start": start,
                "cold": total(peer, False, [("new", 0)]),
                "new": (total(peer, False, many) - base) / each,
                "forged": (total(peer, False, [*few, ("forged", each)]) - base) / each,
            }
        return results
