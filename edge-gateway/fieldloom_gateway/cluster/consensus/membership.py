"""How a member takes part in its cluster: who it is, who begins the cluster, and what they share. (D1)"""

from dataclasses import dataclass, field
from pathlib import Path

from fieldloom_gateway.cluster.consensus.peers import split
from fieldloom_gateway.cluster.consensus.sealing import SECRET_BYTES
from fieldloom_runtime.errors import StartFailed

MEMBERS_MOST = 7


@dataclass(frozen=True)
class Membership:
    """How a member takes part: who it is, who begins the cluster, and what they share."""

    name: str
    address: str
    """HOST:PORT at which it listens and the others reach it."""
    members: dict[str, str]
    """Name to address of those that begin the cluster; once the folder has a journal, the journal's count."""
    secret: bytes = field(repr=False)
    folder: Path

    def check(self) -> None:
        """Raise StartFailed for what can't work."""
        if len(self.secret) < SECRET_BYTES:
            raise StartFailed(
                f"the cluster's secret has {len(self.secret)} bytes and needs {SECRET_BYTES}",
                "draw one, as by `openssl rand -hex 32`, and give it to every member",
            )
        if self.members.get(self.name) != self.address:
            raise StartFailed(
                f"{self.name} at {self.address} is not among the cluster's members", "name every member, this one too"
            )
        if len(self.members) > MEMBERS_MOST:
            raise StartFailed(f"a cluster has at most {MEMBERS_MOST} members, not {len(self.members)}", "name fewer")
        for address in self.members.values():
            try:
                split(address)
            except ValueError as error:
                raise StartFailed(f"a member's address can't be used: {error}", "write it as 10.0.0.4:7400") from error
