"""What goes wrong with the replicated map; a command that can't be used at all is the contract's `Rejected`.

StateError
├── Conflict        what was to be changed is not as expected
├── Compacted       the changes that a watch asked for are not held any more
├── NotAgreed       a command that some members do not know yet
└── NewerVersion    what a newer member has written

A write raises the port's `NoLeader` where nothing was proposed, and its `Unknown` where it may have happened.
"""

from fieldloom_runtime.errors import StartFailed


class StateError(Exception):
    """The base of all that this package raises."""


class Conflict(StateError):  # noqa: N818 - it reads as what happened
    """An entry is not as expected; `modified` is its index, 0 if it is absent. Read it again and decide anew."""

    def __init__(self, key: str, modified: int) -> None:
        found = f"was changed at index {modified}" if modified else "is absent"
        super().__init__(f"{key!r} {found}, which is not what the command expected")
        self.key = key
        self.modified = modified


class Compacted(StateError):  # noqa: N818 - it reads as what happened
    """Changes after an index are not held any more, those after `oldest` are: list anew, and watch from there."""

    def __init__(self, after: int, oldest: int) -> None:
        super().__init__(f"changes after index {after} are gone, the oldest held are after {oldest}: list anew")
        self.after = after
        self.oldest = oldest


class NewerVersion(StateError, StartFailed):  # noqa: N818 - it reads as what happened
    """A command in the log, or a snapshot, has a version that this member does not know: it can't go on, nor start."""

    def __init__(self, kind: str, version: int, known: int) -> None:
        wrong = f"a {kind} has version {version}, this member knows {known}"
        StartFailed.__init__(self, wrong, "install the newer fieldloom-gateway")
        self.version = version
        self.known = known


class NotAgreed(StateError):  # noqa: N818 - it reads as what happened
    """A command needs a version that not all members know: nothing was proposed."""

    def __init__(self, version: int, agreed: int) -> None:
        way_out = "install the newer fieldloom-gateway on each"
        super().__init__(f"the command needs version {version}, all members know {agreed}: {way_out}")
        self.version = version
        self.agreed = agreed
