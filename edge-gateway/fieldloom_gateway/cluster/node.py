"""A gateway among those of its site: what they share, and its own part in it. (D1 to D5, D7)"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

from fieldloom_engine.rules import ENGINE
from fieldloom_gateway.cluster.consensus.member import Member
from fieldloom_gateway.cluster.consensus.membership import Membership
from fieldloom_gateway.cluster.consensus.port import Consensus
from fieldloom_gateway.cluster.consensus.single import LocalConsensus
from fieldloom_gateway.cluster.membership.heartbeat import Heartbeat
from fieldloom_gateway.cluster.membership.records import Software
from fieldloom_gateway.cluster.membership.roster import Roster
from fieldloom_gateway.cluster.partitions.service import Partitions
from fieldloom_gateway.cluster.services.directory import Directory
from fieldloom_gateway.cluster.services.keeper import Keeper
from fieldloom_gateway.cluster.state.commands import VERSION
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_gateway.cluster.state.store import Store
from fieldloom_gateway.settings import ClusterSettings
from fieldloom_runtime.errors import StartFailed

FOLDER = "cluster"
ALONE = "127.0.0.1:1"
"""The address of a gateway that has no peers, at which nobody listens."""


class Node:
    """What is shared. A gateway without a `cluster` section is alone: the same map on its disk, no partitions."""

    def __init__(self, gateway: str, data: Path, given: ClusterSettings | None) -> None:
        machine, rng = ReplicatedMap(), Random()  # noqa: S311 - spreads work, hides nothing
        self._folder = data / FOLDER
        self._member = None if given is None else _member(gateway, self._folder, given, machine)
        self._consensus: Consensus = self._member or LocalConsensus(gateway, self._folder, machine)
        self.store = Store(self._consensus, machine)
        software = Software(version("fieldloom-gateway"), VERSION, ENGINE)
        self._heartbeat = Heartbeat(self.store, self._consensus, given.address if given else ALONE, software)
        self._keeper = Keeper(self.store, rng)
        self.roster = Roster(self.store)
        self.directory = Directory(self.store, rng)
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
        try:
            yield
        finally:
            await self._consensus.stop()

    async def run(self) -> None:
        """Beat, vouch for services and own partitions, until cancelled. Raises what ends the member's consensus."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.store.run(), name="cluster-expiry")
            tasks.create_task(self._heartbeat.run(), name="cluster-heartbeat")
            tasks.create_task(self._keeper.run(), name="cluster-services")
            if self.partitions is not None:
                tasks.create_task(self.partitions.run(), name="cluster-partitions")
            if self._member is not None:
                raise await self._member.failed

    def status(self) -> dict[str, Any]:
        """Return what `status` tells. Without a leader nothing shared can be written; all else goes on. (D7)"""
        return {
            "gateway": self.store.name,
            "leader": self._consensus.leader,
            "writable": self._consensus.leader is not None,
            "members": len(self._consensus.members),
            "heartbeats_missed": self._heartbeat.missed,
            "map": self.store.status(),
            "partitions": None if self.partitions is None else self.partitions.status(),
        }


def _member(gateway: str, folder: Path, given: ClusterSettings, machine: ReplicatedMap) -> Member:
    members = {gateway: given.address, **given.members}
    return Member(Membership(gateway, given.address, members, _secret(given.secret), folder), machine)


def _secret(path: Path) -> bytes:
    """Return what the members share. Raises StartFailed."""
    try:
        if path.stat().st_mode & 0o077:
            raise StartFailed(f"{path} can be read by others than its owner", f"run `chmod 600 {path}`")
        return path.read_bytes().strip()
    except OSError as error:
        way_out = f"draw it once, as by `openssl rand -hex 32 > {path}`, and give it to every member"
        raise StartFailed(f"{path} can't be read ({error.strerror})", way_out) from error
