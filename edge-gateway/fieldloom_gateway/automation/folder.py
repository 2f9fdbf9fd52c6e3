"""The folder `rules` of a gateway's data: rules of a site without a cloud, one a file that bears the rule's id. (E5)"""

from pathlib import Path
from typing import Any

from fieldloom_engine.definitions import Fault
from fieldloom_gateway.automation.deployed import FOLDER, Put, prepare
from fieldloom_runtime.definitions import Unreadable, read

NAME = "rules"


def rules_of(data: Path) -> list[Put]:
    """Return the rules of a gateway's folder, by their names and prepared; with the fault, where one can't be read."""
    found = [_rule(path) for path in sorted((data / NAME).glob("*.yaml"))]
    for one in found:
        if not one.faults:
            prepare(one)
    return found


def _rule(path: Path) -> Put:
    try:
        document: Any = read(path.read_text()).value
    except (OSError, UnicodeDecodeError, Unreadable) as error:
        return Put(FOLDER, path.stem, "", {}, faults=(Fault((), str(error)),))
    if not isinstance(document, dict):
        return Put(FOLDER, path.stem, "", {}, faults=(Fault((), "must be a mapping: a rule"),))
    return Put(FOLDER, path.stem, str(document.get("version", "1.0.0")), document)
