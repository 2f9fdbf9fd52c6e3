"""A release as a folder or a .zip, with a manifest of all that is in it. (F6)"""

import hashlib
import json
import time
import zipfile
from pathlib import Path
from typing import Any

from fieldloom_build.inventory import MPY
from fieldloom_build.release import RELEASE_FILE

MANIFEST = "manifest.json"


def manifest(files: dict[str, bytes], board: str) -> dict[str, Any]:
    """Return what tells of a release: version, board, .mpy version, and each file's size and SHA-256."""
    release = json.loads(files[RELEASE_FILE])
    listed = [
        {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in sorted(files.items())
    ]
    return {"version": release["version"], "board": board, "mpy": MPY, "built": release["built"], "files": listed}


def write(files: dict[str, bytes], told: dict[str, Any], target: Path) -> None:
    """Write a release to a new .zip, or into a folder; the same release makes the same bytes."""
    packed = files | {f"/{MANIFEST}": (json.dumps(told, indent=2) + "\n").encode()}
    if target.suffix == ".zip":
        _write_zip(packed, told["built"], target)
        return
    for path, content in packed.items():
        place = target / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def _write_zip(packed: dict[str, bytes], built: int, target: Path) -> None:
    dated = time.gmtime(built)[:6]
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in sorted(packed.items()):
            archive.writestr(zipfile.ZipInfo(path.lstrip("/"), dated), content, zipfile.ZIP_DEFLATED)
