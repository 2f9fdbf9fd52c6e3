"""Folders of a gateway's data: rules and workflows of a site without a cloud, one a file that bears its id. (E5, W7)"""

from pathlib import Path
from typing import Any

from fieldloom_engine.definitions import Fault
from fieldloom_gateway.automation.deployed import FOLDER, Put, prepare
from fieldloom_runtime.definitions import Unreadable, read

RULES, WORKFLOWS = "rules", "workflows"


def rules_of(data: Path) -> list[Put]:
    """Return the rules of a gateway's folder, by their names and prepared; with the fault, where one can't be read."""
    found = [_read(path, "rule") for path in _files(data / RULES)]
    for one in found:
        if not one.faults:
            prepare(one)
    return found


def workflows_of(data: Path) -> list[Put]:
    """Return the workflows of a gateway's folder, as `rules_of` does."""
    return [_read(path, "workflow") for path in _files(data / WORKFLOWS)]


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.yaml"))


def _read(path: Path, kind: str) -> Put:
    try:
        document: Any = read(path.read_text()).value
    except (OSError, UnicodeDecodeError, Unreadable) as error:
        return Put(FOLDER, path.stem, "", {}, faults=(Fault((), str(error)),))
    if not isinstance(document, dict):
        return Put(FOLDER, path.stem, "", {}, faults=(Fault((), f"must be a mapping: a {kind}"),))
    return Put(FOLDER, path.stem, str(document.get("version", "1.0.0")), document)
