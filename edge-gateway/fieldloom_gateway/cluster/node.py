"""A gateway among those of its site: what they share, and its own part in it. (D1 to D5, D7)"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import structlog

from fieldloom_contract.errors import Rejected
from fieldloom_engine.rules import ENGINE
from fieldloom_gateway.cluster.consensus.member import Member
from fieldloom_gateway.cluster.consensus.membership import Membership
from fieldloom_gateway.cluster.consensus.peers import split
from fieldloom_gateway.cluster.consensus.port import Consensus, NoLeader, Refused, Unknown
from fieldloom_gateway.cluster.consensus.single import LocalConsensus
from fieldloom_gateway.cluster.membership.admission import Admission
from fieldloom_gateway.cluster.membership.heartbeat import Heartbeat
from fieldloom_gateway.cluster.membership.records import Software, alive_key
from fieldloom_gateway.cluster.membership.roster import Roster
from fieldloom_gateway.cluster.partitions.service import Partitions
from fieldloom_gateway.cluster.services.definition import KEPT, Check, Service, decode_service
from fieldloom_gateway.cluster.services.directory import Directory
from fieldloom_gateway.cluster.services.errors import AlreadyRegistered, NotActive
from fieldloom_gateway.cluster.services.keeper import Keeper
from fieldloom_gateway.cluster.state.commands import VERSION
from fieldloom_gateway.cluster.state.entries import Entries
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_gateway.cluster.state.store import Store
from fieldloom_gateway.settings import ClusterSettings
from fieldloom_runtime import files, gateway_state
from fieldloom_runtime.errors import StartFailed

log = structlog.get_logger()

FOLDER = "cluster"
ADMISSION = "admission"
"""The service by which gateways that join find a member."""
OFFER_AGAIN_S = 1.0
CHECK_EVERY_S = 30.0
"""A broker writes a line of its log for each connection."""
DRAIN_S = 10.0
LOOK_S = 0.1
ALONE = "127.0.0.1:1"
"""The address of a gateway that has no peers, at which nobody listens."""


class _Over(Exception):  # noqa: N818 - it ends what runs, and is nobody's fault
    """This gateway takes no part any more, and goes on with all else."""


class Node:
    """What is shared. A gateway without a `cluster` section is alone: the same map on its disk, no partitions."""

    def __init__(
        self, gateway: str, data: Path, given: ClusterSettings | None, offered: Sequence[Service] = ()
    ) -> None:
        """`offered` are the services that this gateway vouches for."""
        machine, rng = ReplicatedMap(), Random()  # noqa: S311 - spreads work, hides nothing
        self._folder = data / FOLDER
        self._member = None if given is None else _member(gateway, self._folder, given, machine)
        self._consensus: Consensus = self._member or LocalConsensus(gateway, self._folder, machine)
        self.store = Store(self._consensus, machine)
        address = given.address if given else ALONE
        self._heartbeat = Heartbeat(self.store, self._consensus, address, own_software())
        self._keeper = Keeper(self.store, rng)
        self.roster = Roster(self.store)
        self.directory = Directory(self.store, rng)
        self.admission = Admission(self.store, self._consensus)
        self._offered = [*offered, *([] if given is None else [_admission(gateway, given)])]
        self._over = asyncio.Event()
        self._fault: str | None = None
        self._beating: asyncio.Task[None] | None = None
        self.partitions = Partitions(self.store, self._consensus, (), given.strategy) if given else None

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        """Take part in the consensus meanwhile. Raises StartFailed."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StartFailed(
                f"{self._folder} can't be made ({error.strerror})", "free the name or the disk"
            ) from error
        await self._consensus.start()
        if self._member is not None:
            self._member.failed.add_done_callback(
                lambda failed: self.end(f"the consensus has failed: {failed.result()}")
            )
        try:
            yield
        finally:
            await self._consensus.stop()

    async def run(self) -> None:
        """Beat, vouch for services and own partitions, until cancelled or this gateway takes no part any more."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.store.run(), name="cluster-expiry")
                self._beating = tasks.create_task(self._heartbeat.run(), name="cluster-heartbeat")
                tasks.create_task(self._keeper.run(), name="cluster-services")
                tasks.create_task(self._offer(), name="cluster-offers")
                if self.partitions is not None:
                    tasks.create_task(self.partitions.run(), name="cluster-partitions")
                await self._over.wait()
                raise _Over
        except* _Over:
            log.warning("cluster_is_over", reason=self._fault)

    async def retire(self) -> None:
        """Hand over what this gateway acts for, and fall silent: it is `leaving`, and another lets it go.

        Raises Refused, NotAMember, NoLeader, Unknown.
        """
        if len(self._consensus.members) == 1:
            raise Refused(f"{self.store.name} is the only gateway of its cluster")
        await self.admission.retire()
        if self.partitions is not None:
            await self._drain(self.partitions)
        if self._beating is not None:
            self._beating.cancel()

    @property
    def names(self) -> tuple[str, ...]:
        """The members' names, sorted."""
        return self._consensus.members

    def doors(self) -> dict[str, str]:
        """Return where members let gateways in, HOST:PORT by name."""
        found = self.directory.discover(ADMISSION)
        return {one.member: f"{one.service.host}:{one.service.port}" for one in found}

    def others(self) -> list[str]:
        """Return the names of the other gateways that can be asked."""
        return [member for member in self.doors() if member != self.store.name]

    def members(self) -> list[dict[str, Any]]:
        """Return the members as they are shown, with the seconds since each was heard of here, None for never."""
        shown = []
        for one in self.roster.members():
            silent_s = 0.0 if one.name == self.store.name else self.store.silent_s(alive_key(one.name))
            is_leader = one.name == self._consensus.leader
            shown.append({**msgspec.to_builtins(one), "leader": is_leader, "silent_s": silent_s})
        return shown

    def told(self) -> gateway_state.Cluster | None:
        """Return what the cloud is told of the cluster, None where this gateway is alone."""
        if self.partitions is None:
            return None
        owned = self.partitions.owners()
        members = [
            gateway_state.Member(one.name, one.state, one.software.release if one.software else "", owned[one.name])
            for one in self.roster.members()
        ]
        return gateway_state.Cluster(members, self._consensus.leader or "", self.fault or "")

    @property
    def is_led(self) -> bool:
        """Whether a leader is known here."""
        return self._consensus.leader is not None

    @property
    def fault(self) -> str | None:
        """Why nothing shared can be written now, None while it can. All else goes on meanwhile. (D7)"""
        if self._fault is None and self._consensus.leader is None:
            return "no leader: a majority of the cluster's gateways has to be up and reachable"
        return self._fault

    def status(self) -> dict[str, Any]:
        """Return what `status` tells. Without a leader nothing shared can be written; all else goes on. (D7)"""
        return {
            "gateway": self.store.name,
            "leader": self._consensus.leader,
            "writable": self.fault is None,
            "fault": self.fault,
            "members": len(self._consensus.members),
            "heartbeats_missed": self._heartbeat.missed,
            "checks_done": self._keeper.checks_done,
            "consensus": None if self._member is None else asdict(self._member.standing),
            "map": self.store.status(),
            "partitions": None if self.partitions is None else self.partitions.status(),
        }

    def end(self, why: str) -> None:
        """Take no part any more, and tell why."""
        self._fault = why
        self._over.set()

    async def _drain(self, partitions: Partitions) -> None:
        """Have others act for this gateway's partitions; what they don't take in time they take over later."""
        partitions.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while partitions.status()["owned"]:  # noqa: ASYNC110 - what is waited for sets no event
                    await asyncio.sleep(LOOK_S)

    async def _offer(self) -> None:
        """Register what this gateway offers, once it is active, and nothing else."""
        while True:
            try:
                await self._withdraw_others()
                for service in self._offered:
                    await self._register(service)
            except (NotActive, NoLeader, Unknown):
                await asyncio.sleep(OFFER_AGAIN_S)
            except Rejected as error:  # the map is full
                log.warning("services_not_offered", reason=str(error))
                await asyncio.sleep(OFFER_AGAIN_S)
            else:
                return

    async def _register(self, service: Service) -> None:
        if service in self._vouched_for():
            return
        try:
            await self.directory.register(service)
        except AlreadyRegistered as error:
            log.warning("service_not_registered", service=service.name, reason=str(error))

    async def _withdraw_others(self) -> None:
        offered = {(one.name, one.id) for one in self._offered}
        for one in self._vouched_for():
            if (one.name, one.id) not in offered:
                await self.directory.deregister(one.name, one.id)

    def _vouched_for(self) -> list[Service]:
        return [decode_service(entry.value) for entry in self.store.below(f"{KEPT}{self.store.name}/")]


async def entries_of(gateway: str, folder: Path) -> Entries:
    """Return what is in the map of a gateway that was alone, in a folder. Raises StartFailed."""
    machine = ReplicatedMap()
    consensus = LocalConsensus(gateway, folder, machine)
    await consensus.start()
    await consensus.stop()
    return machine.entries


def own_software() -> Software:
    """Return what this gateway runs."""
    return Software(version("fieldloom-gateway"), VERSION, ENGINE)


def service(gateway: str, name: str, host: str, port: int) -> Service:
    """Return a service of a gateway that takes connections over TCP, which is how it is checked."""
    check = Check(interval_s=CHECK_EVERY_S, successes=1)
    return Service(name=name, id=gateway.lower(), host=host, port=port, checks=(check,))


def _admission(gateway: str, given: ClusterSettings) -> Service:
    return service(gateway, ADMISSION, split(given.address)[0], given.admission_port)


def _member(gateway: str, folder: Path, given: ClusterSettings, machine: ReplicatedMap) -> Member:
    members = {gateway: given.address, **given.members}
    return Member(Membership(gateway, given.address, members, _secret(given.secret), folder), machine)


def _secret(path: Path) -> bytes:
    """Return what the members share. Raises StartFailed."""
    if not path.exists():
        way_out = f"draw it once, as by `openssl rand -hex 32 > {path}`, and give it to every member"
        raise StartFailed(f"{path} is missing", way_out)
    return files.read_secret(path).encode()
