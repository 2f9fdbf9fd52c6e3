"""A release as it is uploaded: a .zip that is held against its own manifest before anything is kept. (F5)

Nothing is ever unpacked to a path: a member is a name that the manifest asks for, or a reason to refuse.
"""

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from fieldloom_cloud.errors import BadContent
from fieldloom_contract.documents import Manifest, parse_manifest
from fieldloom_contract.errors import Rejected
from fieldloom_contract.release import (
    CONTENT,
    KEY,
    KEY_BYTES,
    KEY_SIGNATURE,
    MANIFEST,
    MANIFEST_BYTES,
    MANIFEST_SIGNATURE,
    SIGNATURE_BYTES,
    Key,
    is_signed,
    parse_key,
    parse_root,
    release_id,
)
from fieldloom_runtime.errors import StartFailed

SBOM = "sbom.cdx.json"
MAX_SBOM_BYTES = 1024 * 1024
MAX_ARCHIVE_BYTES = 3 * 1024 * 1024  # the contract's megabyte of files, the SBOM, and what a .zip adds
LONGEST = {
    MANIFEST: MANIFEST_BYTES,
    MANIFEST_SIGNATURE: SIGNATURE_BYTES,
    KEY: KEY_BYTES,
    KEY_SIGNATURE: SIGNATURE_BYTES,
    SBOM: MAX_SBOM_BYTES,
}
LATEST = 253_402_300_799  # the end of the year 9999, as far as RFC 3339 goes
PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# What zipfile raises over bytes that somebody has spoilt, as 50,000 of them have shown.
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError, LookupError),
)
VERIFIED, UNVERIFIED = "verified", "unverified"


class File(NamedTuple):
    """A file by its name in the archive."""

    path: str
    sha256: str
    body: bytes


class Package(NamedTuple):
    """A release whose every file is as its manifest says."""

    id: str
    manifest: Manifest
    key: Key
    signature: str
    """`verified` with a root, `unverified` where this cloud was given none."""
    files: list[File]


def load_root(path: Path | None) -> int | None:
    """Return the modulus of the offline root's public part, None without a path. Raises StartFailed."""
    if path is None:
        return None
    try:
        return parse_root(path.read_bytes())
    except (OSError, Rejected) as error:
        raise StartFailed(
            f"{path} is no root of releases ({error})", "correct release_root in cloud.json, or take it out"
        ) from None


def opened(archive: bytes, root: int | None, now: datetime) -> Package:
    """Return the release in an archive. Raises BadContent, with the member at fault and the reason."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as packed:
            return _opened(_Members(packed), root, now)
    except UNREADABLE as error:
        _refuse("archive", f"is no .zip that can be read ({error})")


class _Members:
    """The members of a .zip, each read within a limit, whatever the .zip says of its size."""

    def __init__(self, packed: zipfile.ZipFile) -> None:
        self._packed = packed
        self._left: dict[str, zipfile.ZipInfo] = {}
        for member in packed.infolist():
            if member.filename in self._left:
                _refuse(member.filename, "is there twice")
            if not member.is_dir():
                self._left[member.filename] = member

    def read(self, name: str, limit: int) -> bytes:
        """Return a member's bytes, at most `limit`; each can be read once. Raises BadContent."""
        member = self._left.pop(name, None)
        if member is None:
            _refuse(name, "is missing")
        if member.compress_type not in PACKED:
            _refuse(name, "is compressed in another way than by deflate")
        with self._packed.open(member) as stream:
            body = stream.read(limit + 1)
        if len(body) > limit:
            _refuse(name, f"has more than {limit} bytes")
        return body

    def check_empty(self) -> None:
        """Refuse what nobody has asked for."""
        for name in self._left:
            _refuse(name, "is not named by the manifest")


def _opened(members: _Members, root: int | None, now: datetime) -> Package:
    bodies = {name: members.read(name, longest) for name, longest in LONGEST.items()}
    key = _parsed(parse_key, KEY, bodies)
    manifest = _parsed(parse_manifest, MANIFEST, bodies)
    if root is not None:
        _check_signed(KEY, root, bodies, KEY_SIGNATURE)
    _check_signed(MANIFEST, key.modulus, bodies, MANIFEST_SIGNATURE)
    for name, expires in ((KEY, key.expires), (MANIFEST, manifest.head.expires)):
        if not now.timestamp() < expires <= LATEST:
            _refuse(name, f"expires at {expires} in Unix seconds, and now is {now.timestamp():.0f}")
    for entry in manifest.entries:
        bodies[CONTENT + entry.path] = body = members.read(CONTENT + entry.path, entry.size)
        if len(body) != entry.size or hashlib.sha256(body).hexdigest() != entry.sha256:
            _refuse(CONTENT + entry.path, "has not the size and the SHA-256 that the manifest tells")
    members.check_empty()
    _check_sbom(bodies[SBOM])
    files = [File(name, hashlib.sha256(body).hexdigest(), body) for name, body in sorted(bodies.items())]
    return Package(release_id(manifest.head), manifest, key, UNVERIFIED if root is None else VERIFIED, files)


def _parsed(parse: Callable[[bytes], Any], name: str, bodies: dict[str, bytes]) -> Any:
    try:
        return parse(bodies[name])
    except Rejected as error:
        _refuse(name, str(error))


def _check_signed(name: str, modulus: int, bodies: dict[str, bytes], signature: str) -> None:
    if not is_signed(modulus, hashlib.sha256(bodies[name]).digest(), bodies[signature]):
        by = "the root that this cloud was given" if name == KEY else "the release key beside it"
        _refuse(signature, f"is no signature of {name} by {by}")


def _check_sbom(body: bytes) -> None:
    try:
        told = json.loads(body)
    except ValueError as error:
        _refuse(SBOM, f"is not JSON: {error}")
    if not isinstance(told, dict) or told.get("bomFormat") != "CycloneDX":
        _refuse(SBOM, "is no CycloneDX document")


def _refuse(name: str, reason: str) -> NoReturn:
    raise BadContent("This is no release that boards would take.", [{"path": name, "reason": reason}])
