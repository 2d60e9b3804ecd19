"""Records which calls of an SDK were made, and compares the records of all SDKs with `sdk_calls.json`.

    sdk_calls.py RECORD...    each record is the JSON that one SDK's run has written

A call that an SDK should have and has not, or has and should not have, is an error. So is one that was not made. The
table that is printed must be in docs/simulator.md.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
KNOWN = json.loads((HERE / "sdk_calls.json").read_text())
DOCUMENT = HERE.parent / "docs" / "simulator.md"
# A public method of the SDK's generated base class, which every surface's own calls go through.
PLUMBING = {"do_request"}


class RecordedSurface:
    def __init__(self, surface, made):
        self._surface, self._made = surface, made

    def __getattr__(self, name):
        call = getattr(self._surface, name)

        def recorded(*args, **kwargs):
            answer = call(*args, **kwargs)
            self._made.add(name)
            return answer

        return recorded


class RecordedClient:
    """A client of the SDK that remembers which calls succeeded."""

    def __init__(self, client):
        self._client = client
        self._made = {surface: set() for surface in KNOWN["calls"]}

    def __getattr__(self, name):
        found = getattr(self._client, name)
        return RecordedSurface(found, self._made[name]) if name in self._made else found

    def record(self, sdk):
        """What the SDK has and what was called, by surface."""
        has = {}
        for name in self._made:
            surface = getattr(self._client, name, None)
            public = [call for call in dir(surface) if not call.startswith("_") and call not in PLUMBING]
            has[name] = [call for call in public if callable(getattr(surface, call))] if surface else []
        return {"sdk": sdk, "has": has, "made": {name: sorted(calls) for name, calls in self._made.items()}}


def names(by_surface):
    return {f"{surface}.{call}" for surface, calls in by_surface.items() for call in calls}


def compare(record):
    """The differences between one SDK's record and what is known of that SDK."""
    sdk = record["sdk"]
    if sdk not in KNOWN["not_in_this_sdk"]:
        return [f"{sdk}: not in sdk_calls.json"]
    everything, has, made = names(KNOWN["calls"]), names(record["has"]), names(record["made"])
    absent = set()
    for entry in KNOWN["not_in_this_sdk"][sdk]:
        absent |= {call for call in everything if call == entry or call.split(".")[0] == entry}
        print(f"{sdk}: {entry}: not in this SDK")
    expected = everything - absent
    faults = [f"{call}: this SDK has it, but sdk_calls.json does not say so" for call in has - expected]
    faults += [f"{call}: not in this SDK, but sdk_calls.json does not say so" for call in expected - has]
    faults += [f"{call}: was not called" for call in has & expected - made - KNOWN["not_driven"].keys()]
    undriven = made & KNOWN["not_driven"].keys()
    faults += [f"{call}: was called, but sdk_calls.json says that it is not" for call in undriven]
    return sorted(f"{sdk}: {fault}" for fault in faults)


def cell(record, surface):
    has, made = record["has"][surface], record["made"][surface]
    if not has:
        return "not in this SDK"
    return str(len(made)) if len(made) == len(has) else f"{len(made)} of {len(has)}"


def table(records):
    surfaces = list(KNOWN["calls"])
    rows = [["SDK", *surfaces], ["---"] * (len(surfaces) + 1)]
    rows += [[record["sdk"], *(cell(record, surface) for surface in surfaces)] for record in records]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main(paths):
    records = [json.loads(pathlib.Path(path).read_text()) for path in paths]
    faults = [fault for record in records for fault in compare(record)]
    missing = KNOWN["not_in_this_sdk"].keys() - {record["sdk"] for record in records}
    faults += [f"{sdk}: was not run" for sdk in sorted(missing)]
    for call, why in KNOWN["not_driven"].items():
        print(f"{call}: not driven, because it {why}")
    print(table(records))
    if table(records) not in DOCUMENT.read_text():
        faults.append(f"the table above is not in {DOCUMENT.name}")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main(sys.argv[1:])
