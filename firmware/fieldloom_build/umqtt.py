"""The source of umqtt.simple, fetched once from the package index; pip can't install it. (F1)"""

import ast
import hashlib
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

REQUIREMENT = "micropython-umqtt.simple==1.3.4"
SHA256 = "b6a2520239e3992c63a7de9370ee9b3d9d27819a90359c521f1c0f7ccab8d12f"
SOURCE = "umqtt/simple.py"
CLIENT = "MQTTClient"
USED = ("_send_str", "_recv_len", "ping", "publish", "wait_msg")
"""What `fieldloom_agent.link` uses of it; the rest would take a board's memory for nothing."""


class FetchFailed(Exception):  # noqa: N818 - it reads as what happened
    """The source could not be fetched, or is not the one that was reviewed."""


def fetch(lib: Path) -> Path:
    """Put umqtt/simple.py into a folder unless it is there, and return its path. Raises FetchFailed."""
    target = lib / SOURCE
    if target.exists():
        return target
    with TemporaryDirectory() as scratch:
        archive = _download(Path(scratch))
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        if digest != SHA256:
            raise FetchFailed(f"{REQUIREMENT} has the SHA-256 {digest}, not {SHA256}: it is not the reviewed file")
        with tarfile.open(archive) as packed:
            member = next(name for name in packed.getnames() if name.endswith(SOURCE))
            source = packed.extractfile(member)
            content = source.read() if source else b""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    fresh.write_bytes(content)
    fresh.replace(target)
    return target


def used(source: str) -> str:
    """Return of umqtt's source what a board needs; that is as it was."""
    client = next(line for line in ast.parse(source).body if isinstance(line, ast.ClassDef) and line.name == CLIENT)
    client.body = [part for part in client.body if isinstance(part, ast.FunctionDef) and part.name in USED]
    return f"import struct\n{ast.unparse(client)}"


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "unearth", REQUIREMENT, "--download", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FetchFailed(f"{REQUIREMENT} can't be fetched ({done.stderr.strip()}): is the package index reachable?")
    return next(folder.glob("*.tar.gz"))


if __name__ == "__main__":
    try:
        print(fetch(Path(__file__).parents[1] / "lib"))
    except FetchFailed as error:
        sys.exit(str(error))
