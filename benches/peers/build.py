"""Builds the peers, each as its users would: what runs, and what is zipped for Lambda."""

import dataclasses
import io
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

SOURCE = pathlib.Path("benches/peers").resolve()
HOME = pathlib.Path(".tools/peers").resolve()
OURS = "gemhook"
# What Lambda's Python runtime brings itself.
IN_THE_RUNTIME = ("awslambdaric", "boto3", "botocore", "python-dateutil", "s3transfer", "simplejson", "six", "snapshot-restore-py", "urllib3")


@dataclasses.dataclass
class Peer:
    name: str
    command: list
    """The file or folder that is zipped."""
    package: str
    """What only this peer is given in its environment."""
    variables: dict = dataclasses.field(default_factory=dict)
    https: bool = True
    """Whether it checks signatures at all: the floor answers everything alike."""
    checks: bool = True
    cwd: str = "."
    """Whether it trusts AWS's own roots only."""
    few_roots: bool = False

    def is_rust(self):
        return self.command[0] == self.package

    def zip_bytes(self):
        held, package = io.BytesIO(), pathlib.Path(self.package)
        files = sorted(package.rglob("*")) if package.is_dir() else [package]
        with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for file in files:
                if file.is_file() and "__pycache__" not in file.parts:
                    archive.write(file, file.relative_to(package) if package.is_dir() else "bootstrap")
        return len(held.getvalue())


def run(*command, cwd=None, **variables):
    subprocess.run(command, cwd=cwd, env={**os.environ, **variables}, check=True)


def peers(build=True, only=None):
    known = {
        "floor": rust("floor", https=False, checks=False),
        "least-work": rust("least-work", https=False),
        "plain-rust": rust("plain-rust"),
        "node": node("node"),
        "node-powertools": node("node-powertools"),
        "python": python,
        OURS: ours,
    }
    chosen = {name: known[name] for name in only or known}
    return [make(build) for make in chosen.values()]


def ours(build):
    if build:
        run(*"cargo build --release --locked --package gemhook --bin receiver".split())
    binary = str(pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target")).resolve() / "release/receiver")
    return Peer(OURS, [binary], binary, few_roots=True)


def rust(name, **traits):
    def make(build):
        if build:
            # This repository's .cargo/config.toml would reach into a peer below it: its aws-lc is the usual one.
            usual = {"AWS_LC_SYS_NO_JITTER_ENTROPY": "0", "CARGO_TARGET_DIR": str(HOME / "target")}
            run(*"cargo build --release --locked".split(), cwd=SOURCE / name, **usual)
        binary = str(HOME / "target/release" / name)
        return Peer(name, [binary], binary, **traits)

    return make


def node(name):
    def make(build):
        home = HOME / name
        bundle = home / "bundle/index.cjs"
        if build:
            home.mkdir(parents=True, exist_ok=True)
            for file in ("package.json", "package-lock.json", ".npmrc", "index.mjs"):
                shutil.copy(SOURCE / name / file, home)
            run(*"npm ci --silent --no-audit --no-fund".split(), cwd=home)
            flags = "--bundle --minify --platform=node --target=node20 --format=cjs".split()
            run("node_modules/.bin/esbuild", "index.mjs", *flags, f"--outfile={bundle}", "--log-level=warning", cwd=home)
        command = [shutil.which("node"), str(SOURCE / "node/runtime.mjs"), str(bundle)]
        return Peer(name, command, str(bundle.parent))

    return make


def python(build):
    home = HOME / "python"
    package = home / "package"
    if build:
        pins = SOURCE / "python/requirements.txt"
        if not (home / "bin/python").exists():
            run(sys.executable, "-m", "venv", str(home))
        pip = [str(home / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        run(*pip, "--requirement", str(pins))
        own = [pin for pin in pins.read_text().split() if pin.split("==")[0] not in IN_THE_RUNTIME]
        shutil.rmtree(package, ignore_errors=True)
        run(*pip, "--target", str(package), *own)
        shutil.copy(SOURCE / "python/app.py", package)
    command = [str(home / "bin/python"), "-m", "awslambdaric", "app.handler"]
    return Peer("python", command, str(package), cwd=str(package))
