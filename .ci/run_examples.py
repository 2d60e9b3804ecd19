"""Runs each example as its usage says, and looks for the job it made among those that were archived."""

import json
import os
import subprocess
import sys
import tempfile

PROGRAMS = [[sys.executable, "examples/dynamic.py"], ["node", "examples/dynamic.js"]]
KINDS = ["batch", "interaction"]


def check(what, found, expected):
    print(f"{what}: {found}")
    if found != expected:
        sys.exit(f"{what}: expected {expected}")


def ends(lines, job):
    """How the delivery ended that told of this job. Google's names and ours may differ in what goes before."""
    for line in lines:
        change = json.loads(line)
        if job in (change.get("job") or "") and change.get("state") in ("done", "failed"):
            return change["webhook_id"].split("~")[0], f"{change['state']}/{change.get('outcome')}"
    sys.exit("gemhook dev stopped")


def run(command, **environment):
    return subprocess.run(command, env=os.environ | environment, check=True, text=True, capture_output=True).stdout


def examples(gemhook, folder, form):
    command = [gemhook, "dev", "--json", "--port", "0", "--finish-after", "0.1", "--data", folder]
    command += ["--binding-key", "--dynamic-form", form]
    dev = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        at = json.loads(dev.stdout.readline())
        place = {
            "GOOGLE_GEMINI_BASE_URL": at["gemini_url"],
            "GEMINI_API_KEY": "any",
            "WEBHOOK_URL": at["webhook_url"],
            "BINDING_KEY": at["binding_key"],
        }
        for program in PROGRAMS:
            for kind in KINDS:
                job = run([*program, kind], **place).strip()
                expected = (form, "done/archived")
                check(f"{program[-1]} {kind} under {form}", ends(dev.stdout, job), expected)

        minted = json.loads(run([gemhook, "token", "--metadata", '{"group": "x"}', f"--local={folder}"]))
        check("token", sorted(minted), ["gemhook_token", "group"])
    finally:
        dev.terminate()
        check("exit status", dev.wait(timeout=30), 0)


if __name__ == "__main__":
    for form in ["v1a", "jwt"]:
        with tempfile.TemporaryDirectory() as folder:
            examples(sys.argv[1], folder, form)
