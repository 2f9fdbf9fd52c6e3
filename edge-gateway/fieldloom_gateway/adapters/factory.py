"""Builds adapters from `adapters.yaml`; a protocol is an entry point, so that others can bring theirs. (C6)"""

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from fieldloom_gateway.adapters.base import AdapterSettings, Kind, Site
from fieldloom_gateway.adapters.kept import Kept
from fieldloom_runtime import definitions
from fieldloom_runtime.errors import StartFailed

FILE = "adapters.yaml"
GROUP = "fieldloom.adapters"
BROKER = "broker"
"""The name of the adapter of the gateway's own broker, which is always there."""


class Configured(NamedTuple):
    """An adapter that a file asks for."""

    name: str
    kind: Kind
    settings: AdapterSettings

    def build(self, site: Site) -> Kept:
        """Return the adapter, which connects nothing yet. Raises StartFailed."""
        return Kept(self.name, self.settings.protocol, self.kind.build(self.settings, site))


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    adapters: list[dict[str, Any]]


def load(data: Path) -> list[Configured]:
    """Return the adapters that a data folder's file asks for; none without a file. Raises StartFailed."""
    path = data / FILE
    return read(path) if path.exists() else []


def read(path: Path) -> list[Configured]:
    """Return the adapters of a file. Raises StartFailed with the path of the first field that is at fault."""
    try:
        told = _File.model_validate(definitions.read(path.read_text()).value)
        return _configured(told.adapters)
    except (OSError, UnicodeDecodeError, definitions.Unreadable) as error:
        raise StartFailed(f"{path} can't be read ({error})", "correct the file") from None
    except ValidationError as error:
        field, reason = _first(error)
        raise _refused(path, field or "the file", reason) from None
    except _Unusable as error:
        raise _refused(path, error.where, error.reason) from None


class _Unusable(Exception):  # noqa: N818 - it reads as what an entry is
    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where, self.reason = where, reason


def _configured(told: list[dict[str, Any]]) -> list[Configured]:
    found: dict[str, Configured] = {}
    for number, entry in enumerate(told):
        where = f"adapters.{number}"
        kind = _kind(where, entry.get("protocol"))
        try:
            settings = kind.settings.model_validate(entry)
        except ValidationError as error:
            field, reason = _first(error)
            raise _Unusable(f"{where}.{field}" if field else where, reason) from None
        name = settings.name or settings.protocol
        if name in found or name == BROKER:
            raise _Unusable(f"{where}.name", f"{name} is another adapter's: give each a name of its own")
        found[name] = Configured(name, kind, settings)
    return list(found.values())


def _kind(where: str, protocol: Any) -> Kind:
    known = {point.name: point for point in entry_points(group=GROUP)}
    if protocol is None:
        raise _Unusable(f"{where}.protocol", f"is missing: one of {', '.join(sorted(known))}")
    if not isinstance(protocol, str) or protocol not in known:
        raise _Unusable(f"{where}.protocol", f"{protocol!r} is not known, only {', '.join(sorted(known))}")
    try:
        kind = known[protocol].load()
    except (ImportError, AttributeError) as error:
        raise _Unusable(f"{where}.protocol", f"{protocol} can't be loaded ({error})") from None
    if not isinstance(kind, Kind):
        raise _Unusable(f"{where}.protocol", f"{protocol} leads to no adapter ({known[protocol].value})")
    return kind


def _first(error: ValidationError) -> tuple[str, str]:
    first = error.errors()[0]
    return ".".join(str(part) for part in first["loc"]), first["msg"]


def _refused(path: Path, where: str, reason: str) -> StartFailed:
    return StartFailed(f"{path}: {where}: {reason}", "correct the file")
