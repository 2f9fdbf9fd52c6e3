"""What has become of an instance: a record for each time that it was in a state, for its start and its end. (W5)"""

from typing import Any, Literal

from msgspec import Struct

from fieldloom_engine.workflows.instance import Failure, Performed, place
from fieldloom_engine.workflows.model import StatePath

Kind = Literal["started", "state", "handler", "compensation", "ended", "replayed"]
Outcome = Literal["succeeded", "failed", "retried", "cancelled", "terminated"]


class Record(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An entry of an instance's history. Times in Unix ms."""

    number: int
    """From 1, without a gap, by instance."""
    at: int
    """When it was written: of a state when it was left."""
    kind: Kind
    path: str = ""
    """The scope."""
    state: str | None = None
    step: int = 0
    entered: int | None = None
    attempt: int = 1
    outcome: Outcome = "succeeded"
    """Of a state that is tried again `retried`, of one that another's failure or end took along `cancelled`."""
    actions: tuple[Performed, ...] = ()
    """Those that were done, in order."""
    next: str | None = None
    """The state at which its flow goes on."""
    variables: dict[str, Any] = {}
    """Those that were set."""
    failure: Failure | None = None
    reason: str | None = None
    """Why it was terminated."""
    again_at: int | None = None
    """When it is tried again."""
    output: Any = None
    """What its flow gave, where it ended."""

    @property
    def place(self) -> StatePath | None:
        """The path of the state in the definition."""
        return None if self.state is None else place(self.path, self.state)
