"""What is to be performed, and what ends it.

NotPerformed    an effect that could not be performed: why, whether to try again, and when
"""

from collections.abc import Mapping
from typing import Any, Protocol


class Effect(Protocol):
    """An effect of a rule, as its tier keeps it."""

    @property
    def id(self) -> str:
        """The same each time it is performed."""

    @property
    def kind(self) -> str:
        """One of KINDS."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Those of the kind, as `fieldloom_engine.rules.actions` has checked them."""


class NotPerformed(Exception):  # noqa: N818 - it reads as what happened
    """An effect that could not be performed; the text tells no secret.

    `again` says whether another try may help, `after_s` when the other side wants it at the earliest, if it said so.
    """

    def __init__(self, reason: str, *, again: bool, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.again = again
        self.after_s = after_s
