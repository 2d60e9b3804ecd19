"""Makes a corpus for each fuzz target out of the fixtures of the tests, into corpus/ beside this file."""

import base64
import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent
FIXTURES = ROOT.parent / "fixtures"
NAMES = ("webhook-id", "webhook-timestamp", "webhook-signature")


def keep(target, name, data):
    folder = ROOT / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def decoded(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


signatures = json.loads((FIXTURES / "signatures.json").read_text())
for case in signatures["cases"]:
    given = {name.lower(): value for name, value in case["headers"]}
    values = [given.get(name, "") for name in NAMES]
    body = base64.b64decode(case["body_base64"])
    keep("headers", case["id"], "\n".join(values).encode() + b"\n" + body)
    keep("signature", case["id"], values[2].encode())
    parts = values[2].split(".")
    if len(parts) == 3:
        try:
            keep("jwt", case["id"], b"\n".join(decoded(part) for part in parts))
        except ValueError:
            pass
    event = {
        "headers": dict(zip(NAMES, values)),
        "requestContext": {"http": {"method": "POST", "path": "/"}},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }
    keep("event", f"lambda-{case['id']}", json.dumps(event).encode())
for name, keys in signatures["jwks"].items():
    keep("keyset", name, json.dumps(keys).encode())
for path in sorted((FIXTURES / "events").glob("*.json")):
    keep("event", path.stem, json.dumps(json.loads(path.read_text())["payload"]).encode())
for path in sorted((FIXTURES.parent / "cases").glob("*/*.json")):
    for target in ("batch", "interaction", "operation", "lines", "scan"):
        keep(target, f"{path.parent.name}-{path.stem}", path.read_bytes()[:16384])
    for status in (400, 401, 403, 404, 429, 503):
        # The target reads a status of 100 and more out of the first two bytes.
        keep("error_response", f"{status}-{path.parent.name}-{path.stem}", (status - 100).to_bytes(2, "big") + path.read_bytes()[:1024])
for folder in sorted((ROOT / "corpus").iterdir()):
    print(f"{folder.name}: {len(list(folder.iterdir()))} seeds")
