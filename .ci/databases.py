"""Starts both stores on loopback, runs the ledger's tests against each at the same time, and holds what fails against
databases.json. A test that fails and is not listed is an error, and so is one that is listed and passes.

Usage: databases.py MOTO_SERVER DYNAMODB_LOCAL_FOLDER TEST_BINARY
"""

import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

moto, local, tests = sys.argv[1:]
ROOT = pathlib.Path(__file__).resolve().parent.parent
LISTED = json.loads((ROOT / ".ci/databases.json").read_text())
RESULT = re.compile(r"^test (\S+) \.\.\. (ok|FAILED)$", re.MULTILINE)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def command(store, port):
    if store == "moto":
        return [moto, "-H", "127.0.0.1", "-p", str(port)], ROOT
    return ["java", "-Djava.library.path=DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar", "-inMemory", "-sharedDb",
            "-port", str(port)], local


def wait_for(port, process):
    for _ in range(600):
        if process.poll() is not None:
            sys.exit(f"the store on port {port} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"the store on port {port} did not start")


def run(store, port, faults):
    variables = os.environ | {"GEMHOOK_TEST_DYNAMODB_URL": f"http://127.0.0.1:{port}", "RUST_BACKTRACE": "0"}
    ran = subprocess.run([tests, "ledger"], cwd=ROOT, env=variables, capture_output=True, text=True)
    results = dict(RESULT.findall(ran.stdout))
    listed = {name for key, names in LISTED[store].items() if key != "version" for name in names}
    failed = {name for name, result in results.items() if result == "FAILED"}
    print(f"{LISTED[store]['version']}: {len(results)} tests, {len(failed)} cannot hold there")
    if len(results) < 25:
        faults.append(f"{store}: only {len(results)} tests ran: {ran.stdout[-2000:]}{ran.stderr[-2000:]}")
    for name in sorted(failed - listed):
        faults.append(f"{store}: {name} fails and is not listed\n{ran.stdout[-20000:]}")
    for name in sorted(listed - failed):
        faults.append(f"{store}: {name} is listed and does not fail")


def main():
    processes, faults = [], []
    with tempfile.TemporaryFile() as log:
        try:
            ports = {}
            for store in LISTED:
                port = ports[store] = free_port()
                arguments, folder = command(store, port)
                processes.append(subprocess.Popen(arguments, cwd=folder, stdout=log, stderr=log))
                wait_for(port, processes[-1])
            threads = [threading.Thread(target=run, args=(store, port, faults)) for store, port in ports.items()]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            for process in processes:
                process.kill()
                process.wait()
    sys.exit("\n".join(faults) or None)


main()
