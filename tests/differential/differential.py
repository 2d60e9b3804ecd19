"""Thousands of generated deliveries, judged by this library and by the official ones in Python and JavaScript.

Each kind of case has the three verdicts that it must have. Where they differ, the reason stands beside it.
Usage: differential.py COUNT SEED VERDICTS-PROGRAM NODE-FOLDER
"""

import base64
import collections
import hashlib
import hmac
import json
import pathlib
import random
import string
import subprocess
import sys
import time

from standardwebhooks import Webhook, WebhookVerificationError

SAFE = string.ascii_letters + string.digits + "_-."
ACCEPT, REFUSE, CRASH = "accept", "refuse", "crash"
ALL_ACCEPT, ALL_REFUSE = (ACCEPT,) * 3, (REFUSE,) * 3

# Kind, verdicts of (ours, Python, JavaScript), and why they are not the same.
DIFFERENCES = {
    "body that is no UTF-8": ((ACCEPT, CRASH, REFUSE), "we sign over bytes; Python decodes, JavaScript re-encodes"),
    "signature spelled with spare bits": ((REFUSE, ACCEPT, REFUSE), "one signature has one spelling here"),
    "foreign characters in the base64": ((REFUSE, ACCEPT, REFUSE), "Python drops what is no base64"),
    "base64 cut short": ((REFUSE, CRASH, REFUSE), "Python raises"),
    "base64 without padding": ((REFUSE, CRASH, REFUSE), "Python raises"),
    "base64 for addresses": ((REFUSE, CRASH, REFUSE), "Python raises"),
    "second comma": ((REFUSE, CRASH, ACCEPT), "JavaScript ignores what follows it"),
    "leading blank in the list": ((ACCEPT, CRASH, ACCEPT), "Python takes the nothing before it for an entry"),
    "tab between entries": ((ACCEPT, CRASH, REFUSE), "any white space separates here"),
    "entry without a comma": ((ACCEPT, CRASH, ACCEPT), "unreadable entries are skipped here"),
    "entry that is no ASCII": ((REFUSE, CRASH, ACCEPT), "a header is ASCII here"),
    "leading zero, signed as sent": ((ACCEPT, REFUSE, REFUSE), "we sign over the text as sent, they over the number"),
    "leading zero, signed as a number": ((REFUSE, ACCEPT, ACCEPT), "as above"),
    "plus sign": ((REFUSE, ACCEPT, ACCEPT), "a timestamp is digits here"),
    "fraction": ((REFUSE, ACCEPT, ACCEPT), "a timestamp is digits here"),
    "exponent": ((REFUSE, ACCEPT, ACCEPT), "a timestamp is digits here"),
    "letters behind the timestamp": ((REFUSE, REFUSE, ACCEPT), "JavaScript ignores what follows a number"),
    "underscore in the timestamp": ((REFUSE, ACCEPT, REFUSE), "Python reads its own spelling of numbers"),
    "blanks around the timestamp, signed as sent": ((ACCEPT, REFUSE, REFUSE), "as for the leading zero; HTTP drops them"),
    "blanks around the timestamp, signed as a number": ((REFUSE, ACCEPT, ACCEPT), "as above"),
    "id with our mark": ((REFUSE, ACCEPT, ACCEPT), "it would choose another row's key"),
    "id with a comma": ((REFUSE, ACCEPT, ACCEPT), "it is how Lambda joins two headers"),
    "id with a blank": ((REFUSE, ACCEPT, ACCEPT), "an id is printable ASCII here"),
    "id beyond ASCII": ((REFUSE, ACCEPT, ACCEPT), "an id is printable ASCII here"),
    "id of 257 characters": ((REFUSE, ACCEPT, ACCEPT), "an id has an end here"),
    "secret with a line end": ((ACCEPT, ACCEPT, CRASH), "people copy secrets by hand"),
}


def sign(secret, text_id, text_time, body):
    key = base64.b64decode(secret.removeprefix("whsec_") + "==")
    return base64.b64encode(hmac.new(key, f"{text_id}.{text_time}.".encode() + body, hashlib.sha256).digest()).decode()


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def secret(self):
        return "whsec_" + base64.b64encode(self.random.randbytes(self.random.choice([24, 32, 33, 48, 64]))).decode()

    def id(self):
        return "msg_" + "".join(self.random.choices(SAFE, k=self.random.randint(1, 60)))

    def body(self):
        kind = self.random.randrange(6)
        if kind == 0:
            return b""
        if kind == 1:
            return "".join(chr(self.random.choice([10, 13, 34, 92, 233, 8364, 128169, 65279])) for _ in range(40)).encode()
        event = {"type": "batch.succeeded", "data": {"id": self.id(), "n": self.random.random(), "text": "é€💩"[: kind - 2]}}
        return json.dumps(event, indent=self.random.choice([None, 2, 4]), ensure_ascii=self.random.random() < 0.5).encode()

    def fresh(self):
        """A rightful delivery, and what it is made of."""
        secret, text_id, body = self.secret(), self.id(), self.body()
        at = str(int(time.time()) + self.random.randint(-280, 280))
        return secret, text_id, at, body

    def whole(self, secret, text_id, at, body, signature=None, signed_at=None):
        value = signature or "v1," + sign(secret, text_id, signed_at or at, body)
        headers = {"webhook-id": text_id, "webhook-timestamp": at, "webhook-signature": value}
        return {"secret": secret, "headers": headers, "body": base64.b64encode(body).decode()}

    def noise(self):
        return "v1," + base64.b64encode(self.random.randbytes(32)).decode()

    def case(self, kind):
        secret, text_id, at, body = self.fresh()
        choose = self.random.choice
        right = sign(secret, text_id, at, body)
        listed = lambda text: self.whole(secret, text_id, at, body, signature=text)
        timed = lambda text, signed: self.whole(secret, text_id, text, body, signed_at=signed)
        named = lambda text: self.whole(secret, text, at, body)
        place = self.random.randrange(42)
        swap = lambda text, n: text[:n] + choose([c for c in string.ascii_letters if c != text[n]]) + text[n + 1 :]
        match kind:
            case "rightful":
                return self.whole(secret, text_id, at, body)
            case "names in other letters":
                case = self.whole(secret, text_id, at, body)
                case["headers"] = {choose([str.title, str.upper])(name): value for name, value in case["headers"].items()}
                return case
            case "secret without prefix":
                return self.whole(secret, text_id, at, body) | {"secret": secret.removeprefix("whsec_")}
            case "rotation":
                return listed(choose([f"{self.noise()} v1,{right}", f"v1,{right} {self.noise()}"]))
            case "other versions first":
                return listed(f"{choose(['v2', 'v1a', 'v', 'V1'])},AAAA v1,{right}")
            case "trailing blank in the list":
                return listed(f"v1,{right} ")
            case "another body":
                return self.whole(secret, text_id, at, body + b" ", signature=f"v1,{right}")
            case "body serialised anew":
                again = json.dumps(json.loads('{"b":1,"a":[1,2]}'), indent=1).encode()
                return self.whole(secret, text_id, at, again, "v1," + sign(secret, text_id, at, b'{"b":1,"a":[1,2]}'))
            case "another id":
                return self.whole(secret, swap(text_id, 4), at, body, signature=f"v1,{right}")
            case "another time":
                return self.whole(secret, text_id, str(int(at) + choose([-1, 1])), body, signature=f"v1,{right}")
            case "another signature":
                return listed("v1," + swap(right, place))
            case "another secret":
                return self.whole(secret, text_id, at, body) | {"secret": self.secret()}
            case "dots moved":
                return self.whole(secret, f"{text_id}.{at}", at, body, signature=f"v1,{right}")
            case "missing header" | "empty header":
                case = self.whole(secret, text_id, at, body)
                name = choose(list(case["headers"]))
                case["headers"].pop(name)
                return case if kind == "missing header" else case | {"headers": case["headers"] | {name: ""}}
            case "too old":
                old = str(int(time.time()) - self.random.randint(320, 10**6))
                return timed(old, old)
            case "too new":
                new = str(int(time.time()) + self.random.randint(360, 10**6))
                return timed(new, new)
            case "no number":
                return timed(choose(["soon", "-", "NaN", "9" * 20, f"-{at}", "0", "٣"]), at)
            case "only other versions":
                return listed(f"{choose(['v2', 'v1a', 'V1', 'v', ''])},{right}")
            case "half a signature":
                return listed("v1," + base64.b64encode(base64.b64decode(right)[:16]).decode())
            case "signature in hexadecimal":
                return listed("v1," + base64.b64decode(right).hex())
            case "empty signature":
                return listed("v1,")
            case "body that is no UTF-8":
                return self.whole(secret, text_id, at, body + b"\xff\xfe")
            case "signature spelled with spare bits":
                alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
                return listed("v1," + right[:42] + alphabet[alphabet.index(right[42]) + choose([1, 2, 3])] + "=")
            case "foreign characters in the base64":
                return listed("v1," + right[:place] + choose("!#%~") + right[place:])
            case "base64 cut short":
                return listed("v1," + right[:place] + right[place + 1 :])
            case "base64 without padding":
                return listed("v1," + right.rstrip("="))
            case "base64 for addresses":
                while right.count("+") + right.count("/") != 1:
                    text_id = self.id()
                    right = sign(secret, text_id, at, body)
                return self.whole(secret, text_id, at, body, "v1," + right.translate(str.maketrans("+/", "-_")))
            case "second comma":
                return listed(f"v1,{right},{choose(['', 'more', right])}")
            case "leading blank in the list":
                return listed(choose([f" v1,{right}", f"{self.noise()}  v1,{right}"]))
            case "tab between entries":
                return listed(f"{self.noise()}\tv1,{right}")
            case "entry without a comma":
                return listed(f"{choose(['v1', 'x', '='])} v1,{right}")
            case "entry that is no ASCII":
                return listed(f"v1,é v1,{right}")
            case "leading zero, signed as sent":
                return timed(f"0{at}", f"0{at}")
            case "leading zero, signed as a number":
                return timed(f"0{at}", at)
            case "plus sign":
                return timed(f"+{at}", at)
            case "fraction":
                return timed(f"{at}.25", at)
            case "exponent":
                return timed(f"{at}e0", at)
            case "letters behind the timestamp":
                return timed(f"{at}{choose(['abc', ' GMT', ',1', 's'])}", at)
            case "underscore in the timestamp":
                return timed(f"{at[:1]}_{at[1:]}", at)
            case "blanks around the timestamp, signed as sent":
                return timed(f" {at} ", f" {at} ")
            case "blanks around the timestamp, signed as a number":
                return timed(f" {at} ", at)
            case "id with our mark":
                return named(f"{choose(['v1a', 'jwt', 'job'])}~{text_id}")
            case "id with a comma":
                return named(f"{text_id},{text_id}")
            case "id with a blank":
                return named(f"{text_id} x")
            case "id beyond ASCII":
                return named(f"{text_id}é")
            case "id of 257 characters":
                return named("m" * 257)
            case "secret without padding":
                secret = "whsec_" + base64.b64encode(self.random.randbytes(32)).decode()
                return self.whole(secret, text_id, at, body) | {"secret": secret.rstrip("=")}
            case "secret with a line end":
                secret = "whsec_" + base64.b64encode(self.random.randbytes(32)).decode()
                return self.whole(secret, text_id, at, body) | {"secret": secret + "\n"}


ACCEPTED = [
    "rightful", "names in other letters", "secret without prefix", "secret without padding", "rotation",
    "other versions first", "trailing blank in the list",
]
REFUSED = [
    "another body", "body serialised anew", "another id", "another time", "another signature", "another secret",
    "dots moved", "missing header", "empty header", "too old", "too new", "no number", "only other versions",
    "half a signature", "signature in hexadecimal", "empty signature",
]
EXPECTED = (
    {kind: ALL_ACCEPT for kind in ACCEPTED}
    | {kind: ALL_REFUSE for kind in REFUSED}
    | {kind: verdicts for kind, (verdicts, _) in DIFFERENCES.items()}
)


def by_python(case):
    try:
        Webhook(case["secret"]).verify(base64.b64decode(case["body"]), case["headers"], json_parse=False)
        return ACCEPT
    except WebhookVerificationError:
        return REFUSE
    except Exception:  # whatever it raises besides, a receiver would answer with 500
        return CRASH


def by_program(command, cases):
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    return subprocess.run(command, input=lines, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


def main(count, seed, program, node_folder):
    generator = Generator(seed)
    kinds = [kind for _ in range(count // len(EXPECTED) + 1) for kind in EXPECTED]
    cases = [generator.case(kind) for kind in kinds]
    script = str(pathlib.Path(__file__).with_name("verdicts.mjs"))
    ours = by_program([program], cases)
    javascript = by_program(["node", script, str(pathlib.Path(node_folder).resolve()) + "/"], cases)
    assert len(ours) == len(javascript) == len(cases)
    wrong = collections.Counter()
    for kind, case, *verdicts in zip(kinds, cases, ours, map(by_python, cases), javascript):
        if tuple(verdicts) != EXPECTED[kind]:
            if not wrong[kind]:
                print(f"{kind}: {verdicts}, expected {EXPECTED[kind]}\n  {json.dumps(case)}")
            wrong[kind] += 1
    agreed = sum(len(set(EXPECTED[kind])) == 1 for kind in kinds)
    print(f"{len(cases)} deliveries of {len(EXPECTED)} kinds, seed {seed}: {agreed} judged alike by all three,")
    print(f"{len(cases) - agreed} otherwise, as the {len(DIFFERENCES)} listed kinds must be; {sum(wrong.values())} not as expected")
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
