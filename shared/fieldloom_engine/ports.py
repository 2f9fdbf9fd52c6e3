"""What the engine asks of the tier that it runs in."""

from typing import Protocol


class Ownership(Protocol):
    """Whose a device is: of all gateways of a site one acts for it. (decision 4)"""

    def owns(self, device: str) -> bool:
        """Whether this gateway acts for a device at this moment."""

    def guard(self, device: str) -> tuple[str, int] | None:
        """Return what a write for a device is fenced by: it takes place only while this is so still.

        It is a key of what the site's gateways share, and the index at which it was modified last; None where nobody
        else can act.
        """


class Alone:
    """The ownership of a site's only gateway: all devices are its own."""

    def owns(self, device: str) -> bool:  # noqa: ARG002 - the port's signature
        """Return True."""
        return True

    def guard(self, device: str) -> tuple[str, int] | None:  # noqa: ARG002 - the port's signature
        """Return None."""
        return None
