"""What the engine asks of the tier that it runs in."""

from typing import Protocol


class Ownership(Protocol):
    """Whose a device is: of all gateways of a site one acts for it. (decision 4)"""

    def owns(self, device: str) -> bool:
        """Whether this gateway acts for a device at this moment."""


class Alone:
    """The ownership of a site's only gateway: all devices are its own."""

    def owns(self, device: str) -> bool:  # noqa: ARG002 - the port's signature
        """Return True."""
        return True
