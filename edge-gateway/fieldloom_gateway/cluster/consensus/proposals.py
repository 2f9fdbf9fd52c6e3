"""What callers of a member want in the log, until they know what became of it. (D1, ADR 48)

Of what is not in the log and never will be the caller hears nothing: it is proposed again, within the caller's time.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pysyncobj.config import FAIL_REASON

from fieldloom_gateway.cluster.consensus.library import Answer
from fieldloom_gateway.cluster.consensus.port import Applied, ConsensusFailed, NoLeader, Refused, Unknown

PROPOSED = 10_000
PROPOSED_BYTES = 16 * 1024 * 1024
"""Commands that may be on their way at a time; others wait with their callers."""

_LATER = (FAIL_REASON.DISCARDED, FAIL_REASON.NOT_LEADER, FAIL_REASON.MISSING_LEADER, FAIL_REASON.QUEUE_FULL)


@dataclass(eq=False, slots=True)
class _Proposal:
    """Something on its way into the log, and who waits for it."""

    propose: Callable[[Answer], None]
    size: int
    future: asyncio.Future[Applied]
    is_proposed: bool = False
    is_denied: bool = False
    """Whether the leader has turned a change of the members down; the next may do."""


class Proposals:
    """The proposals of one member, in the order in which they came."""

    def __init__(self) -> None:
        self._pending: deque[_Proposal] = deque()
        self._later: list[_Proposal] = []
        self._proposed: set[_Proposal] = set()
        self._proposed_bytes = 0

    async def submit(self, propose: Callable[[Answer], None], size: int, within: float) -> Applied:
        """Return the outcome of a command of `size` bytes, after so many seconds at most. Raises ConsensusFailed."""
        loop = asyncio.get_running_loop()
        proposal = _Proposal(propose, size, loop.create_future())
        self._pending.append(proposal)
        over = loop.call_later(within, self._give_up, proposal, within)
        try:
            return await proposal.future
        finally:
            over.cancel()
            self._settle(proposal)
            if not proposal.is_proposed:
                self._forget(proposal)

    def hand_in(self) -> None:
        """Propose what waits, as far as there is room."""
        while self._pending and len(self._proposed) < PROPOSED and self._proposed_bytes < PROPOSED_BYTES:
            proposal = self._pending.popleft()
            if not proposal.future.done():
                self._propose(proposal)

    def again(self) -> None:
        """Let what was turned away be proposed again."""
        self._pending.extend(self._later)
        self._later.clear()

    def abandon(self) -> None:
        """Tell all callers that the member stops."""
        for proposal in [*self._pending, *self._later, *self._proposed]:
            self._fail(proposal)

    def _propose(self, proposal: _Proposal) -> None:
        proposal.is_proposed = True
        self._proposed.add(proposal)
        self._proposed_bytes += proposal.size
        proposal.propose(lambda outcome, reason: self._answered(proposal, outcome, reason))

    def _answered(self, proposal: _Proposal, outcome: Any, reason: int) -> None:
        self._settle(proposal)
        if proposal.future.done():
            return
        if reason == FAIL_REASON.SUCCESS:
            proposal.future.set_result(outcome)
        elif reason in _LATER or reason == FAIL_REASON.REQUEST_DENIED:
            proposal.is_proposed, proposal.is_denied = False, reason == FAIL_REASON.REQUEST_DENIED
            self._later.append(proposal)
        else:
            self._fail(proposal)

    def _fail(self, proposal: _Proposal) -> None:
        if not proposal.future.done():
            lost = Unknown("the leader has changed") if proposal.is_proposed else NoLeader("this member stops")
            proposal.future.set_exception(lost)

    def _give_up(self, proposal: _Proposal, within: float) -> None:
        if not proposal.future.done():
            proposal.future.set_exception(_why(proposal, within))

    def _settle(self, proposal: _Proposal) -> None:
        if proposal in self._proposed:
            self._proposed.remove(proposal)
            self._proposed_bytes -= proposal.size

    def _forget(self, proposal: _Proposal) -> None:
        """Hold nothing for a caller that has gone."""
        for queue in (self._pending, self._later):
            with suppress(ValueError):
                queue.remove(proposal)


def _why(proposal: _Proposal, within: float) -> ConsensusFailed:
    if proposal.is_proposed:
        return Unknown(f"nobody has said within {within} s whether it is committed")
    if proposal.is_denied:
        return Refused("another change of the members is under way, or this one is made already")
    return NoLeader(f"there was no leader within {within} s")
