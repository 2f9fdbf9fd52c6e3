"""What goes wrong with services; a definition that can't be used is the contract's `Rejected`.

ServiceError
├── AlreadyRegistered   another gateway vouches for this service
├── NotActive           this gateway is no active member of its cluster
└── NoService           nothing that could be selected
"""


class ServiceError(Exception):
    """The base of all that this package raises."""


class AlreadyRegistered(ServiceError):  # noqa: N818 - it reads as what happened
    """A service of this name and id is registered by another gateway."""

    def __init__(self, name: str, service: str, member: str) -> None:
        super().__init__(f"{name}/{service} is registered by {member}: deregister it there, or choose another id")
        self.name = name
        self.service = service
        self.member = member


class NotActive(ServiceError):  # noqa: N818 - it reads as what happened
    """A gateway can vouch for a service only while the others know that it lives."""

    def __init__(self, member: str) -> None:
        super().__init__(f"{member} is no active member of its cluster: try again when it is")
        self.member = member


class NoService(ServiceError):  # noqa: N818 - it reads as what happened
    """No service of this name is healthy; `known` says how many there are."""

    def __init__(self, name: str, known: int) -> None:
        found = f"none of its {known} instances is healthy" if known else "nobody has registered one"
        super().__init__(f"no service {name!r} can be selected: {found}")
        self.name = name
        self.known = known
