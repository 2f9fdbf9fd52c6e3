"""Faults that a cluster's gateways could have, which chaos has to find; a site's all have it. (V3)"""

from fieldloom_gateway.cluster.consensus.confirming import Confirming
from fieldloom_gateway.cluster.partitions import lease
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_gateway.cluster.state.watch import Watch


def reads_without_a_majority() -> None:
    """A leader answers reads without asking whether it still is one."""
    answer = Confirming.answer
    Confirming.answer = lambda confirming, _: answer(confirming, lambda _: True)


def leases_outlast_their_time() -> None:
    """A gateway acts for longer than its successor waits."""
    lease.LEASE_S = 60.0


def writes_take_place_again() -> None:
    """A write whose answer was lost is done once more when it is sent again."""
    once = ReplicatedMap._once

    def every_time(machine, index, command, transaction):
        session = machine._sessions.get(command.session)
        if session is not None:
            session.outcomes.pop(command.sequence, None)
        return once(machine, index, command, transaction)

    ReplicatedMap._once = every_time


def watches_skip() -> None:
    """A watch of everything that finds several changes tells the last of them alone."""
    take = Watch._take
    Watch._take = lambda watch, most: take(watch, most) if watch._prefix else take(watch, None)[-1:]


SABOTEURS = {
    fault.__name__: fault
    for fault in (
        reads_without_a_majority,
        leases_outlast_their_time,
        writes_take_place_again,
        watches_skip,
    )
}
