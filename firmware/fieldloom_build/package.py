"""A signed release, as a folder that is served to boards and as a .zip of it for upload. (F5, F6)

What is in it, `fieldloom_contract.release` and `documents` say: the manifest and its signature, the release key and its
signature by the root, the files below `files/`, and beside them `sbom.cdx.json`, which no board is sent.
"""

import hashlib
import time
import zipfile
from pathlib import Path

from fieldloom_build import release, sbom
from fieldloom_build.boards import Board
from fieldloom_build.errors import BuildFailed
from fieldloom_build.inventory import MPY
from fieldloom_build.release_keys import ReleaseKey
from fieldloom_contract import documents
from fieldloom_contract.release import (
    CONTENT,
    KEY,
    KEY_SIGNATURE,
    MANIFEST,
    MANIFEST_SIGNATURE,
    Entry,
    Head,
    board_name,
    version,
)

SBOM = "sbom.cdx.json"
MPY_SUB_VERSION = 3  # of mpy-cross 1.23 and later; bytecode alone loads on boards of every sub-version
ZIP_DATE = (2000, 1, 1, 0, 0, 0)


def head(board: Board, number: str, floor: str, expires: int) -> Head:
    """Return the head of a manifest; `expires` is in Unix s. Raises Rejected, BuildFailed."""
    made = Head(board_name(board.name), version(number), f"{MPY}.{MPY_SUB_VERSION}", expires, version(floor, "--floor"))
    if made.floor > made.version:
        raise BuildFailed(f"--floor {floor} is above the release's own version, {number}: no board could install it")
    return made


def make(head: Head, contents: dict[str, bytes], key: ReleaseKey, micropython: str) -> dict[str, bytes]:
    """Return a release's files by their path in it; `contents` are those of a slot. Raises Rejected, BuildFailed."""
    if key.told.expires <= time.time():
        raise BuildFailed("the release key has expired: no board takes it. Make another by `fieldloom release-key new`")
    entries = [
        Entry(hashlib.sha256(content).hexdigest(), len(content), path) for path, content in sorted(contents.items())
    ]
    manifest = documents.pack_manifest(documents.Manifest(head, entries))
    documents.parse_manifest(manifest)  # holds what is made to the contract's limits
    made = {MANIFEST: manifest, MANIFEST_SIGNATURE: key.sign(manifest), KEY: key.document, KEY_SIGNATURE: key.signature}
    made[SBOM] = sbom.make(head, entries, micropython)
    return made | {CONTENT + path: content for path, content in contents.items()}


def of_slot(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return what `release.build` has made for a slot, by the paths in it: the rest is never updated over the air."""
    folder = release.SLOT + "/"
    return {path.removeprefix(folder): content for path, content in files.items() if path.startswith(folder)}


def write(made: dict[str, bytes], folder: Path) -> Path:
    """Write a release into a new folder, and the .zip of it beside; return the .zip. Raises BuildFailed."""
    if folder.exists():
        raise BuildFailed(f"{folder} is there already: what a release's id names never changes, give another --version")
    for path, content in made.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    packed = folder.with_name(folder.name + ".zip")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in sorted(made.items()):
            archive.writestr(zipfile.ZipInfo(path, ZIP_DATE), content, zipfile.ZIP_DEFLATED)
    return packed
