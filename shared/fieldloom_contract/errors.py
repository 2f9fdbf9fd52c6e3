"""What goes wrong with a message.

ContractError
└── Rejected    a payload, a topic or a field that the contract does not allow
"""


class ContractError(Exception):
    """The base of all that this package raises."""


class Rejected(ContractError):  # noqa: N818 - it reads as what happened to the message
    """Input that can't be used; `field` names the place, `reason` says why in words for a person."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field + ": " + reason)
        self.field = field
        self.reason = reason
