"""The parts of a gateway, each made of those before it, and the order in which they start. (V3)"""

import asyncio
import gc
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from fieldloom_contract import topics
from fieldloom_engine.ports import Alone
from fieldloom_gateway import interface, sharing
from fieldloom_gateway import settings as configuration
from fieldloom_gateway.adapters import factory
from fieldloom_gateway.adapters.base import Message, Site
from fieldloom_gateway.adapters.kept import Kept
from fieldloom_gateway.adapters.mqtt import PROTOCOL, MqttAdapter
from fieldloom_gateway.automation import folder
from fieldloom_gateway.automation.acting import Acting
from fieldloom_gateway.automation.hearing import Hearing
from fieldloom_gateway.automation.holds.kept import Kept as KeptHolds
from fieldloom_gateway.automation.holds.runtime import Runtime as Holding
from fieldloom_gateway.automation.instances import Instances
from fieldloom_gateway.automation.performing import handlers_of
from fieldloom_gateway.automation.service import Automation
from fieldloom_gateway.clock import steady_ms, unix_ms
from fieldloom_gateway.clockwork import Clockwork, leave_none
from fieldloom_gateway.cluster.node import Node, own_software
from fieldloom_gateway.cluster.partitions.residence import LoadFailed
from fieldloom_gateway.delivery import Delivery
from fieldloom_gateway.deploy import identity
from fieldloom_gateway.deploy.revocation import Enforcement
from fieldloom_gateway.former import bring_former
from fieldloom_gateway.ingest.credentials import Credentials
from fieldloom_gateway.ingest.disk import Disk
from fieldloom_gateway.ingest.outbox import Outbox
from fieldloom_gateway.ingest.service import Ingest
from fieldloom_gateway.ingest.uplink import Clocks, Uplink
from fieldloom_gateway.interface import Interface
from fieldloom_gateway.releases.cache import Cache
from fieldloom_gateway.releases.fetch import Fetcher
from fieldloom_gateway.releases.service import Releases
from fieldloom_gateway.sharing import Sharing, offered
from fieldloom_gateway.transformers import Transformers
from fieldloom_gateway.twins.kept import Kept as KeptTwins
from fieldloom_gateway.twins.runtime import Runtime as Wanting
from fieldloom_runtime import parts
from fieldloom_runtime.door import Door
from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.tls import client_context

GC_AFTER = 20_000  # new objects: more than a group makes


class Gateway:
    """One gateway process. All that touches its disk for writing runs on one thread."""

    def __init__(self, settings: configuration.Settings, data: Path) -> None:
        self._settings = settings
        self._data = data
        self._disk = Disk(data, settings.outbox_bytes, settings.outbox_policy)
        self._transformers = Transformers(data, self._disk.store, unix_ms)
        self._transformers.start()
        self._automation = self._judging()
        own = identity.of(data)
        local_tls = client_context(own.cert, own.cert, own.key, ssl.TLSVersion.TLSv1_3)
        local = ("127.0.0.1", settings.local_port)
        broker = MqttAdapter(local, identity.NAME, local_tls, self._ask_who_is_there)
        configured = factory.load(data)
        self._adapters = [Kept(factory.BROKER, PROTOCOL, broker)]
        self._adapters += [one.build(self._site()) for one in configured]
        self._node = Node(settings.id, data, settings.cluster, offered(settings, configured))
        self._outbox = Outbox(self._disk.reader)
        self._uplink = self._reaching_the_cloud()
        door = Door(own.cert.parent, settings.local_port, local_tls)
        revocations, new_list = self._disk.store.revocations, self._uplink.new_list
        self._enforcement = Enforcement(revocations, self._disk.writer, door, settings.ca, new_list)
        self._releases = self._fetching()
        self._ingest = Ingest(
            self._adapters, self._disk.store, self._disk.writer, unix_ms, self._disk.tell, self._releases.hear
        )
        self._delivery = Delivery(self._disk, self._ingest, self._releases, self._uplink.news)
        handlers = handlers_of(data, broker.publish)
        self._acting = Acting(self._automation.effects, handlers, self._disk, unix_ms)
        self._instances = Instances(self._automation, self._disk, self._node, self._delivery.committed, unix_ms)
        self._sharing = self._as_member()
        self._holding = self._having_held()
        self._wanting = self._having_wanted()
        name = f"{identity.NAME}.workflows"
        self._hearing = Hearing(local, name, local_tls, self._automation, self._disk, unix_ms)
        leaves = leave_none if self._sharing is None else self._sharing.leaves
        self._clockwork = Clockwork(settings, self._disk, self._automation, self._ingest, self._delivery, leaves)

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Raises StartFailed."""
        ordered: list[parts.Part] = [
            ("disk", self._disk.opened()),
            ("consensus", self._node.joined()),
            ("instances", self._taking_up()),
            ("cluster", parts.Background("cluster", self._node.run, stop)),
            ("ingest", parts.Background("ingest", self._ingest.run, stop)),
            ("revocation", parts.Background("revocation", self._enforcement.run, stop)),
            ("uplink", parts.Background("uplink", self._uplink.run, stop)),
            ("releases", parts.Background("releases", self._releases.run, stop)),
            ("news", parts.Background("news", self._delivery.run, stop)),
            ("expiry", parts.Background("expiry", self._clockwork.expire, stop)),
            ("actions", parts.Background("actions", self._acting.run, stop)),
            ("workflows", parts.Background("workflows", self._instances.run, stop)),
            ("holds", parts.Background("holds", self._holding.run, stop)),
            ("twins", parts.Background("twins", self._wanting.run, stop)),
            ("messages", parts.Background("messages", self._hearing.run, stop)),
            ("time", parts.Background("time", self._clockwork.tell_time, stop)),
            ("repeats", parts.Background("repeats", self._clockwork.repeat, stop)),
            ("discovery", parts.Background("discovery", self._clockwork.discover, stop)),
            ("status", self._interface().serving()),
        ]
        if self._sharing is not None:
            ordered += self._sharing.ordered(stop)
        if self._settings.mdns:
            from fieldloom_gateway import mdns  # noqa: PLC0415 - most gateways do without

            ordered.append(("mdns", mdns.announced(self._settings)))
        await parts.run(ordered, stop)

    def _judging(self) -> Automation:
        """Begin with the rules and workflows that are at work, and with those of the data folder."""
        own, disk = self._settings, self._disk
        shares = own.cluster is not None
        automation = Automation(disk.connection, disk.store, own.id, days=own.rule_days, shares=shares)
        automation.start(unix_ms())
        disk.store.attend(automation)
        automation.use_folder(folder.rules_of(self._data))
        disk.store.commit(automation.take_workflows, folder.workflows_of(self._data))
        return automation

    def _reaching_the_cloud(self) -> Uplink:
        own = self._settings
        uplink = Uplink(
            own.id,
            (own.cloud_host, own.cloud_port),
            client_context(own.ca, own.cert, own.key, ssl.TLSVersion.TLSv1_3),
            self._outbox,
            self._disk.store,
            self._disk.writer,
            Clocks(steady_ms, unix_ms),
        )
        if own.uplink_bytes_per_s is not None:
            uplink.limit(own.uplink_bytes_per_s)
        uplink.describe(own_software().release, self._node.told)
        self._disk.attend(uplink.wake)
        return uplink

    def _fetching(self) -> Releases:
        ask = partial(self._uplink.ask, topics.RELEASE_REQUEST)
        fetcher = Fetcher(Cache(self._data / "releases", self._settings.release_bytes), ask)
        self._uplink.listen(topics.RELEASE_PIECE, fetcher.hear)
        return Releases(fetcher, self._send, time.monotonic)

    def _as_member(self) -> Sharing | None:
        """Return what there is only in a cluster, None where this gateway is alone."""
        cluster, partitions, windows = self._settings.cluster, self._node.partitions, self._automation.windows
        if cluster is None or partitions is None or windows is None:
            return None
        ports = sharing.Ports(
            self._settings,
            self._data,
            self._disk,
            self._node,
            self._automation,
            self._instances,
            self._delivery,
        )
        return Sharing(ports, cluster, partitions, windows)

    def _having_held(self) -> Holding:
        kept, ownership = KeptHolds(self._node.store), self._node.partitions or Alone()
        committed = self._delivery.committed
        return Holding(self._automation.holds, kept, ownership, self._disk.commit, committed, unix_ms)

    def _having_wanted(self) -> Wanting:
        kept, disk = KeptTwins(self._node.store), self._disk
        disk.store.twins.share(kept)
        wanting = Wanting(disk.store.twins, kept, disk.commit, self._ingest.tell_twins, disk.tell, unix_ms)
        disk.attend(wanting.look)
        return wanting

    def _interface(self) -> Interface:
        return Interface(
            interface.Ports(
                self._settings,
                self._data,
                self._disk,
                self._node,
                self._adapters,
                self._transformers,
                self._ingest,
                self._outbox,
                self._uplink,
                self._releases,
                self._automation,
                self._instances,
                self._holding,
                self._wanting,
            )
        )

    @asynccontextmanager
    async def _taking_up(self) -> AsyncIterator[None]:
        """Take up what goes on here in the map, that too of a map that this gateway had for itself."""
        try:
            await self._holding.load()
            await self._instances.load()
        except LoadFailed as error:
            raise StartFailed(str(error), "install the newer fieldloom-gateway again") from error
        is_alone = self._node.partitions is None
        workflows = self._automation.workflows
        await bring_former(self._settings.id, self._data, self._disk, workflows, is_alone=is_alone)
        await self._instances.begin()
        yield

    def _site(self) -> Site:
        """Return what adapters may use."""
        own, known = self._settings, Credentials(self._disk.reader, unix_ms)
        waiting, ask, listen = self._waiting_for, self._ask_who_is_there, self._listen
        return Site(own.id, self._data, own.ca, own.cert, own.key, known, waiting, ask, listen)

    # Adapters, and releases, are there before the ingest that they stand on.

    def _listen(self, tell: Callable[[Sequence[Message]], None]) -> None:
        self._ingest.listen(tell)

    async def _waiting_for(self, device: str) -> list[bytes]:
        return await self._ingest.waiting(device)

    async def _ask_who_is_there(self) -> None:
        await self._ingest.greet_all()

    async def _send(self, device: str, verb: str, payload: bytes) -> None:
        await self._ingest.send(device, verb, payload)


async def serve(data: Path) -> None:
    """Run the gateway of a data folder until SIGTERM or SIGINT. Raises StartFailed."""
    gateway = Gateway(configuration.load(data), data)
    # Collections look neither through what the start has made, nor through each group several times while it is taken.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_AFTER)
    await gateway.run(parts.stop_on_signals())
