"""Gateways come, live, fall silent, return and go; commands are used that all of them know. (D3, D6)"""

import asyncio
import contextlib
import random

import pytest

from cluster.conftest import SECONDS, Steady
from cluster.replicas import Replicas
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster.membership.admission import Admission
from fieldloom_gateway.cluster.membership.errors import (
    AlreadyMember,
    NotAMember,
    StillActive,
    TokenRefused,
    TooOld,
)
from fieldloom_gateway.cluster.membership.heartbeat import Heartbeat
from fieldloom_gateway.cluster.membership.records import Software
from fieldloom_gateway.cluster.membership.roster import Roster
from fieldloom_gateway.cluster.services.definition import Service
from fieldloom_gateway.cluster.services.directory import Directory
from fieldloom_gateway.cluster.state.errors import NotAgreed

SOFTWARE = Software("1.0.0", 1, 1)
NAMES = ("gw.a", "gw.b", "gw.c")


class Gateway:
    """A member as its process has it."""

    def __init__(self, cluster, name, software=SOFTWARE):
        self.name = name
        self.address = f"127.0.0.1:{7000 + ord(name[-1])}"
        self.store = cluster.stores[name]
        self.heart = Heartbeat(self.store, cluster.members[name], self.address, software)
        self.roster = Roster(self.store)
        self.admission = Admission(self.store, cluster.members[name])
        self.directory = Directory(self.store, random.Random(1))

    def states(self):
        return {one.name: one.state for one in self.roster.members()}

    async def until(self, name, state):
        """Wait until a member has a state, as this gateway sees it."""
        async with asyncio.timeout(SECONDS):
            async for seen in self.roster.follow():
                if (seen.name, seen.state) == (name, state):
                    return


class Site:
    """A cluster of gateways, of which the first has founded it."""

    def __init__(self, cluster, clock):
        self.cluster = cluster
        self.clock = clock

    async def start(self, name, software=SOFTWARE):
        await self.cluster.start(name)
        return Gateway(self.cluster, name, software)

    async def found(self, *names):
        """Have some gateways that are active."""
        self.cluster.addresses |= dict.fromkeys(names, "")
        gateways = [await self.start(name) for name in names]
        for one in gateways:
            await one.heart.beat()
            await one.store.get("", "linearizable")
        return gateways


@contextlib.asynccontextmanager
async def opened(folder):
    clock = Steady()
    async with Replicas(folder, random.Random(1), lag_s=0.0, steady=clock, grace_s=0.0) as cluster:
        yield Site(cluster, clock)


@pytest.fixture
async def site(tmp_path):
    async with opened(tmp_path) as site:
        yield site


async def test_a_gateway_that_is_alone_is_active_and_spares_the_disk(site):
    (alone,) = await site.found("gw.a")
    index = alone.store.index
    site.clock.seconds += 3600
    for _ in range(3):
        await alone.heart.beat()

    assert (alone.states(), alone.store.index) == ({"gw.a": "active"}, index)


async def test_who_is_silent_is_down_and_active_again_when_it_returns(site):
    first, second, _ = await site.found(*NAMES)
    for _ in range(3):
        site.clock.seconds += 1.0
        await first.heart.beat()
        await second.heart.beat()
    site.clock.seconds += 0.1

    await first.until("gw.c", "down")
    seen = second.states()
    await site.cluster.stop("gw.c")
    third = await site.start("gw.c", Software("1.0.1", 1, 1))
    await third.heart.beat()
    await first.until("gw.c", "active")

    assert seen == {"gw.a": "active", "gw.b": "active", "gw.c": "down"}
    assert first.roster.member("gw.c").software.release == "1.0.1"
    assert first.roster.member("gw.x").state == "unknown"


async def test_a_gateway_joins_by_a_token_that_is_good_once(site):
    first, second = await site.found("gw.a", "gw.b")
    token = await first.admission.invite("gw.c")

    peers = await second.admission.admit(token, "gw.c", "127.0.0.1:7099", SOFTWARE)
    await first.admission.admit(token, "gw.c", "127.0.0.1:7099", SOFTWARE)  # as after an answer that was lost
    joining = second.states()
    await first.admission.add(token, "gw.c")
    await second.admission.add(token, "gw.c")
    third = await site.start("gw.c")
    await third.heart.beat()

    assert [(one.name, one.state) for one in peers] == [("gw.a", "active"), ("gw.b", "active")]
    assert joining["gw.c"] == "joining"
    assert third.states() == dict.fromkeys(NAMES, "active")
    assert token.encode() not in site.cluster.members["gw.a"].machine.snapshot()
    with pytest.raises(AlreadyMember, match=r"gw\.c is a member already: remove it first"):
        await first.admission.admit(token, "gw.c", "127.0.0.1:7099", SOFTWARE)
    with pytest.raises(TokenRefused):
        await first.admission.add(token, "gw.c")
    with pytest.raises(AlreadyMember):
        await first.admission.invite("gw.c")


async def test_what_lets_nobody_in(site):
    (first,) = await site.found("gw.a")
    token = await first.admission.invite("gw.c", valid_s=60)

    async def refused(token, name):
        with pytest.raises(TokenRefused, match=f"the token does not let {name} in: have a new one made"):
            await first.admission.admit(token, name, "127.0.0.1:7099", SOFTWARE)

    await refused("made-up", "gw.c")
    await refused(token, "gw.d")
    with pytest.raises(TooOld, match=r"gw\.c knows commands up to version 0, the cluster uses 1: install the newer"):
        await first.admission.admit(token, "gw.c", "127.0.0.1:7099", Software("0.9", 0, 1))
    with pytest.raises(Rejected, match="address: '7099' is not HOST:PORT"):
        await first.admission.admit(token, "gw.c", "7099", SOFTWARE)
    with pytest.raises(Rejected, match="must hold a dot"):
        await first.admission.invite("device")
    with pytest.raises(Rejected, match="valid_s: 0 is not from 1 to 604800"):
        await first.admission.invite("gw.d", valid_s=0)
    watch = first.store.watch("invitations/")
    site.clock.seconds += 60
    await asyncio.wait_for(anext(watch), SECONDS)
    await refused(token, "gw.c")
    assert first.states() == {"gw.a": "active"}


async def test_only_an_active_gateway_invites(site):
    site.cluster.addresses["gw.a"] = ""
    first = await site.start("gw.a")

    with pytest.raises(NotAMember, match=r"gw\.a is no member of this cluster"):
        await first.admission.invite("gw.c")
    with pytest.raises(NotAMember):
        await first.admission.retire()


async def test_a_gateway_leaves_with_all_that_it_vouches_for(site):
    first, second = await site.found("gw.a", "gw.b")
    await second.directory.register(Service(name="api", id="api-1", host="127.0.0.1", port=80))

    await second.admission.retire()
    await second.heart.beat()
    leaving = second.states()
    await first.admission.let_go("gw.b")
    await second.heart.beat()
    await first.store.get("", "linearizable")

    assert leaving == {"gw.a": "active", "gw.b": "leaving"}
    assert (first.states(), first.directory.discover()) == ({"gw.a": "active"}, [])
    assert await first.store.list_keys("registered/") == []
    assert site.cluster.members["gw.a"].members == ("gw.a",)


async def test_a_gateway_that_will_not_come_back_is_removed(site):
    first, _ = await site.found("gw.a", "gw.b")

    with pytest.raises(StillActive, match=r"gw\.b is active: let it leave by itself, or stop it first"):
        await first.admission.remove("gw.b")
    with pytest.raises(NotAMember):
        await first.admission.remove("gw.x")
    site.clock.seconds += 3.0
    await first.until("gw.b", "down")
    await first.admission.remove("gw.b")

    assert first.states() == {"gw.a": "down"}  # its own heart has not beaten since
    await first.heart.beat()
    assert first.states() == {"gw.a": "active"}


async def test_commands_are_proposed_that_all_members_know(site, monkeypatch):
    newer = Software("2.0.0", 2, 2)
    first, _ = await site.found("gw.a", "gw.b")
    upgraded = Gateway(site.cluster, "gw.a", newer)
    await upgraded.heart.beat()
    monkeypatch.setattr("fieldloom_gateway.cluster.state.commands.Transaction.SINCE", 2)

    with pytest.raises(NotAgreed):
        await first.store.set("a", b"")
    monkeypatch.undo()
    mixed = (first.store.agreed_version, first.roster.agreed_engine())
    await Gateway(site.cluster, "gw.b", newer).heart.beat()
    await upgraded.heart.beat()

    assert mixed == (1, 1)
    assert (first.store.agreed_version, first.roster.agreed_engine()) == (2, 2)
    token = await first.admission.invite("gw.c")
    with pytest.raises(TooOld):
        await first.admission.admit(token, "gw.c", "127.0.0.1:7099", SOFTWARE)


async def test_a_heart_beats_on_while_there_is_no_leader(site):
    first, _ = await site.found("gw.a", "gw.b")
    first.heart = Heartbeat(first.store, site.cluster.members["gw.a"], first.address, SOFTWARE, 0.01, 100)
    site.cluster.members["gw.a"].is_linked.clear()
    running = asyncio.create_task(first.heart.run())
    async with asyncio.timeout(SECONDS):
        while not first.heart.missed:  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.02)
    watch = first.store.watch("members/gw.a/alive")
    site.cluster.members["gw.a"].is_linked.set()
    beaten = await asyncio.wait_for(anext(watch), SECONDS)
    running.cancel()

    assert beaten.changes[0].entry.ttl_ms == 100
