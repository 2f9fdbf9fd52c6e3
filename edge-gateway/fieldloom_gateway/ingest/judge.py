"""Who judges what goes up, in the transaction that keeps it: rules and workflows are above the ingest."""

from typing import Any, NamedTuple, Protocol

from fieldloom_engine.holds import Source, Wanted
from fieldloom_runtime.down import ForAutomation, Removed, Rule
from fieldloom_runtime.records import Record


class Downward(NamedTuple):
    """A message for a device."""

    device: str
    verb: str
    payload: bytes


class Order(NamedTuple):
    """A command that somebody asks for, before it is known whether it may pass; `expires` in Unix ms."""

    id: str
    device: str
    type: str
    parameters: dict[str, Any]
    expires: int
    source: Source
    wanted: Wanted | None = None
    """That it is to hold its actuator, if it is."""


class Judge(Protocol):
    """What judges. It is told inside a transaction of the store; what follows from it commits with what it was told."""

    def hear(self, record: Record) -> None:
        """Judge a record that goes up."""
        ...

    def prepare(self, told: Rule) -> None:
        """Do what takes long of a rule that will be taken down; on any thread, beside all else."""
        ...

    def take_down(self, told: ForAutomation | Removed, now: int) -> None:
        """Take what the cloud says of rules, workflows and holds, and who is gone. `now` is the clock, Unix ms."""
        ...

    def admit(self, order: Order, now: int) -> bool:
        """Whether a command of the cloud goes to its device now; else it was refused, or asks to hold. (E9)"""
        ...

    def retarget(self) -> None:
        """Take note that a device tells another type or other tags of itself."""
        ...

    def write(self) -> None:
        """Write what memory took since the last time; called before each commit."""
        ...

    def forget(self) -> None:
        """Undo what memory took of a transaction that was rolled back."""
        ...

    def messages(self) -> list[Downward]:
        """Return what devices are to be told of what was committed since it was asked last."""
        ...
