"""How gateways come to a cluster, and how they go. (D3, D6)

An active gateway makes a token for one that is to join. The token's digest alone is kept; it is good once, and for a
time.
"""

import secrets
from hashlib import sha256

import msgspec

from fieldloom_contract import topics
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster.consensus.port import Consensus
from fieldloom_gateway.cluster.membership.errors import AlreadyMember, NotAMember, StillActive, TokenRefused, TooOld
from fieldloom_gateway.cluster.membership.records import (
    INVITATIONS,
    Invitation,
    Member,
    Record,
    Software,
    alive_key,
    check_address,
    decode_invitation,
    decode_record,
    encode,
    record_key,
)
from fieldloom_gateway.cluster.membership.roster import Roster
from fieldloom_gateway.cluster.state.commands import Compare, Delete, Done, Set
from fieldloom_gateway.cluster.state.store import Store

TOKEN_BYTES = 32
VALID_S = 3600.0
VALID_MAX_S = 7 * 24 * 3600.0


class Admission:
    """Lets gateways in and out, at a gateway that is a member itself."""

    def __init__(self, store: Store, consensus: Consensus) -> None:
        self._store = store
        self._consensus = consensus
        self._roster = Roster(store)

    async def invite(self, member: str, valid_s: float = VALID_S) -> str:
        """Return a token by which one gateway may join within a time; it is kept nowhere.

        Raises Rejected, AlreadyMember, NotAMember while this gateway is not active, NoLeader, Unknown.
        """
        topics.gateway_id(member)
        if self._roster.record(member) is not None:
            raise AlreadyMember(member)
        if not 1 <= valid_s <= VALID_MAX_S:
            raise Rejected("valid_s", f"{valid_s:g} is not from 1 to {VALID_MAX_S:g}")
        if self._roster.member(self._store.name).state != "active":
            raise NotAMember(self._store.name)
        token = secrets.token_urlsafe(TOKEN_BYTES)
        invitation = encode(Invitation(member, self._store.name))
        await self._store.set(INVITATIONS + digest(token), invitation, ttl_ms=int(valid_s * 1000))
        return token

    async def admit(self, token: str, member: str, address: str, software: Software) -> list[Member]:
        """Take a gateway in that shows a token, and return the members that it is to connect to.

        It is `joining` until its own heart beats; `add` is next, once it listens. May be asked again when an answer was
        lost. Raises Rejected, TokenRefused, TooOld, AlreadyMember, NoLeader, Unknown.
        """
        topics.gateway_id(member)
        record = Record(check_address(address), software, "joining", digest(token))
        entry = await self._store.get(record_key(member), "linearizable")
        if entry is None:
            await self._redeem(member, record)
        elif decode_record(entry.value) != record:
            raise AlreadyMember(member)
        return [one for one in self._roster.members() if one.name != member]

    async def add(self, token: str, member: str) -> None:
        """Let a gateway that was admitted and listens take part in the consensus; again if an answer was lost.

        Raises TokenRefused, the port's Refused, NoLeader, Unknown.
        """
        entry = await self._store.get(record_key(member), "linearizable")
        if entry is None or not secrets.compare_digest(decode_record(entry.value).invitation, digest(token)):
            raise TokenRefused(member)
        if member not in self._consensus.members:
            await self._consensus.add_member(member, decode_record(entry.value).address)

    async def retire(self) -> None:
        """Say that this gateway is about to leave, so that others take over what it does.

        Raises NotAMember, NoLeader, Unknown.
        """
        key = record_key(self._store.name)
        while (entry := self._store.peek(key)) is not None:
            record = msgspec.structs.replace(decode_record(entry.value), state="leaving")
            compare = Compare(key, "modified", entry.modified)
            if isinstance(await self._store.transaction((compare,), (Set(key, encode(record)),)), Done):
                return
        raise NotAMember(self._store.name)

    async def let_go(self, member: str) -> None:
        """Take a gateway out that asks for it, with all that it vouches for. Its heartbeat has to have stopped.

        Another member does it, since one that is taken out is not told so. May be asked again when an answer was lost.
        Raises the port's Refused, NoLeader, Unknown; until it returns the gateway may still be a member.
        """
        await self._forget(member)
        if member in self._consensus.members:
            await self._consensus.remove_member(member)

    async def remove(self, member: str) -> None:
        """Take a gateway out that will not come back. Raises NotAMember, StillActive, Refused, NoLeader, Unknown."""
        found = self._roster.member(member)
        if found.state == "unknown" and member not in self._consensus.members:
            raise NotAMember(member)
        if self._store.peek(alive_key(member)) is not None:
            raise StillActive(member)
        if member in self._consensus.members:
            await self._consensus.remove_member(member)
        await self._forget(member)

    async def _redeem(self, member: str, record: Record) -> None:
        """Use a token up for what is to be written of a gateway. Raises TokenRefused, TooOld."""
        key = INVITATIONS + record.invitation
        invitation = await self._store.get(key, "linearizable")
        if invitation is None or decode_invitation(invitation.value).member != member:
            raise TokenRefused(member)
        if record.software.commands < self._store.agreed_version:
            raise TooOld(member, record.software.commands, self._store.agreed_version)
        outcome = await self._store.transaction(
            (Compare(key, "modified", invitation.modified), Compare(record_key(member), "modified", 0)),
            (Delete(key), Set(record_key(member), encode(record))),
        )
        if not isinstance(outcome, Done):
            raise TokenRefused(member)

    async def _forget(self, member: str) -> None:
        await self._store.transaction((), (Delete(record_key(member)), Delete(alive_key(member))))


def digest(token: str) -> str:
    """Return what is kept of a token; it has 256 random bits, so a plain hash hides it."""
    return sha256(token.encode()).hexdigest()
