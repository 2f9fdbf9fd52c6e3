"""What goes wrong with members; a name or an address that can't be used is the contract's `Rejected`.

MembershipError
├── TokenRefused    a token that lets nobody in
├── TooOld          a gateway whose software does not know what the cluster uses
├── AlreadyMember   a gateway of this name belongs to the cluster
├── NotAMember      no gateway of this name belongs to the cluster
└── StillActive     a gateway that can leave by itself
"""


class MembershipError(Exception):
    """The base of all that this package raises."""


class TokenRefused(MembershipError):  # noqa: N818 - it reads as what happened
    """A token is unknown, used, expired, or another gateway's: which of these is nobody's business who has no token."""

    def __init__(self, member: str) -> None:
        super().__init__(f"the token does not let {member} in: have a new one made at an active gateway")
        self.member = member


class TooOld(MembershipError):  # noqa: N818 - it reads as what happened
    """A gateway does not know commands that the cluster uses."""

    def __init__(self, member: str, knows: int, needed: int) -> None:
        super().__init__(
            f"{member} knows commands up to version {knows}, the cluster uses {needed}: "
            "install the newer fieldloom-gateway on it"
        )
        self.member = member
        self.knows = knows
        self.needed = needed


class AlreadyMember(MembershipError):  # noqa: N818 - it reads as what happened
    """A gateway of this name is a member: a new one in its place has no memory of its votes."""

    def __init__(self, member: str) -> None:
        super().__init__(f"{member} is a member already: remove it first if it was set up anew")
        self.member = member


class NotAMember(MembershipError):  # noqa: N818 - it reads as what happened
    """No gateway of this name belongs to the cluster."""

    def __init__(self, member: str) -> None:
        super().__init__(f"{member} is no member of this cluster")
        self.member = member


class StillActive(MembershipError):  # noqa: N818 - it reads as what happened
    """A gateway that runs is not removed by others."""

    def __init__(self, member: str) -> None:
        super().__init__(f"{member} is active: let it leave by itself, or stop it first")
        self.member = member
