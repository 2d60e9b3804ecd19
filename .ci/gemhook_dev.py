"""A running `gemhook dev` for the checks beside this file, and how they compare what they find."""

import contextlib
import json
import subprocess
import sys
import tempfile
import threading


def check(what, found, expected):
    print(f"{what}: {found}", flush=True)
    if found != expected:
        sys.exit(f"{what}: expected {expected}")


@contextlib.contextmanager
def dev(gemhook, *more):
    """Its addresses, as long as it runs."""
    with tempfile.TemporaryDirectory() as folder:
        command = [gemhook, "dev", "--json", "--port", "0", "--data", folder, *more]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            at = json.loads(process.stdout.readline())
            # What it says from here on is for nobody, but must not fill the pipe.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield at
        finally:
            process.terminate()
            check("exit status", process.wait(timeout=30), 0)
