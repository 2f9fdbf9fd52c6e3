"""Wires the ports of a gateway and runs it: disk, adapters, ingest, uplink, status. (V3)"""

import asyncio
import gc
import secrets
import sqlite3
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from fieldloom_contract import messages, topics
from fieldloom_engine.ports import Alone
from fieldloom_gateway import settings as configuration
from fieldloom_gateway.adapters import factory
from fieldloom_gateway.adapters.base import Message, Site
from fieldloom_gateway.adapters.callers import Callers
from fieldloom_gateway.adapters.http import HttpSettings
from fieldloom_gateway.adapters.kept import Kept
from fieldloom_gateway.adapters.mqtt import PROTOCOL, MqttAdapter
from fieldloom_gateway.automation import folder
from fieldloom_gateway.automation.alarms.telling import PATH as ALARMS
from fieldloom_gateway.automation.alarms.telling import Ports as AlarmPorts
from fieldloom_gateway.automation.alarms.telling import Telling
from fieldloom_gateway.automation.effects import Again, Due, Outcome
from fieldloom_gateway.automation.holds.kept import Kept as KeptHolds
from fieldloom_gateway.automation.holds.routes import add_holds
from fieldloom_gateway.automation.holds.runtime import Runtime as Holding
from fieldloom_gateway.automation.performing import Handler, Performer, Publishing, write_log
from fieldloom_gateway.automation.routes import add_rules
from fieldloom_gateway.automation.service import Automation
from fieldloom_gateway.automation.windows.handing import PATH as WINDOWS
from fieldloom_gateway.automation.windows.service import Windows
from fieldloom_gateway.automation.windows.site import Ports as WindowPorts
from fieldloom_gateway.automation.windows.site import SiteWindows
from fieldloom_gateway.automation.workflows.checkpoints import Checkpoints
from fieldloom_gateway.automation.workflows.former import former_instances
from fieldloom_gateway.automation.workflows.forwarding import PATH, Forwarder, Ports
from fieldloom_gateway.automation.workflows.messages import Listener, SiteMessage
from fieldloom_gateway.automation.workflows.routes import add_workflows
from fieldloom_gateway.automation.workflows.runtime import Runtime, acts_for_all, count_nothing
from fieldloom_gateway.automation.workflows.service import Followed
from fieldloom_gateway.cluster.calling import Caller
from fieldloom_gateway.cluster.consensus.peers import split
from fieldloom_gateway.cluster.consensus.single import FILE as MAP
from fieldloom_gateway.cluster.door import Take, door
from fieldloom_gateway.cluster.handing import COMMANDS
from fieldloom_gateway.cluster.joining import be_added, joining_context
from fieldloom_gateway.cluster.member_routes import add_members
from fieldloom_gateway.cluster.node import FOLDER as CLUSTER
from fieldloom_gateway.cluster.node import Node, entries_of, own_software, service
from fieldloom_gateway.cluster.partitions.residence import LoadFailed
from fieldloom_gateway.cluster.partitions.service import Partitions
from fieldloom_gateway.cluster.routes import add_cluster
from fieldloom_gateway.cluster.services.definition import Service
from fieldloom_gateway.dead_letters import add_dead_letters
from fieldloom_gateway.deploy import identity
from fieldloom_gateway.deploy.revocation import Enforcement
from fieldloom_gateway.discovery import add_discovery
from fieldloom_gateway.fingerprint import fingerprint
from fieldloom_gateway.ingest.ballast import Ballast
from fieldloom_gateway.ingest.credentials import Credentials
from fieldloom_gateway.ingest.database import FILE, open_database
from fieldloom_gateway.ingest.judge import Downward
from fieldloom_gateway.ingest.outbox import Outbox
from fieldloom_gateway.ingest.service import Ingest
from fieldloom_gateway.ingest.store import Store
from fieldloom_gateway.ingest.uplink import Clocks, Uplink
from fieldloom_gateway.local import guard, token_of
from fieldloom_gateway.releases.cache import Cache
from fieldloom_gateway.releases.fetch import Fetcher
from fieldloom_gateway.releases.service import Releases
from fieldloom_gateway.site_commands import SiteCommands
from fieldloom_gateway.status import status_app
from fieldloom_gateway.transformers import Transformers, add_reload
from fieldloom_gateway.twins.kept import Kept as KeptTwins
from fieldloom_gateway.twins.kept import former_twins
from fieldloom_gateway.twins.routes import Ports as TwinPorts
from fieldloom_gateway.twins.routes import Shown, add_twins
from fieldloom_gateway.twins.runtime import Runtime as Wanting
from fieldloom_runtime import files, outgoing, parts
from fieldloom_runtime.door import LIST, Door
from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.http import serving
from fieldloom_runtime.tls import client_context, server_context

log = structlog.get_logger()

EXPIRE_EVERY_S = 1.0
REPEAT_EVERY_S = 5.0
TIME_EVERY_S = 3600.0
STOP_GRACE_S = 2
GC_AFTER = 20_000  # new objects: more than a group makes


def unix_ms() -> int:
    """Return the time in Unix ms."""
    return time.time_ns() // 1_000_000


def steady_ms() -> int:
    """Return ms of a clock that nobody sets."""
    return time.monotonic_ns() // 1_000_000


class Gateway:
    """One gateway process. All that touches its disk for writing runs on one thread."""

    def __init__(self, settings: configuration.Settings, data: Path) -> None:
        self._settings = settings
        self._data = data
        self._db = open_database(data)
        self._reader = sqlite3.connect(data / FILE, check_same_thread=False, isolation_level=None)
        self._store = Store(self._db, settings.outbox_bytes, settings.outbox_policy)
        self._store.hold(Ballast(data))
        self._transformers = Transformers(data, self._store, unix_ms)
        self._transformers.start()
        days, shares = settings.rule_days, settings.cluster is not None
        self._automation = Automation(self._db, self._store, settings.id, days=days, shares=shares)
        self._automation.start(unix_ms())
        self._store.attend(self._automation)
        self._automation.use_folder(folder.rules_of(data))
        self._store.commit(self._automation.take_workflows, folder.workflows_of(data))
        self._outbox = Outbox(self._reader)
        self._writer = ThreadPoolExecutor(1, "disk")
        own = identity.of(data)
        local_tls = client_context(own.cert, own.cert, own.key, ssl.TLSVersion.TLSv1_3)
        broker = MqttAdapter(("127.0.0.1", settings.local_port), identity.NAME, local_tls, self._ask_who_is_there)
        configured = factory.load(data)
        self._adapters = [Kept(factory.BROKER, PROTOCOL, broker)]
        self._adapters += [one.build(self._site()) for one in configured]
        self._node = Node(settings.id, data, settings.cluster, self._offered(configured))
        self._uplink = self._new_uplink(settings)
        door = Door(own.cert.parent, settings.local_port, local_tls)
        new_list = self._uplink.new_list
        self._enforcement = Enforcement(self._store.revocations, self._writer, door, settings.ca, new_list)
        ask = partial(self._uplink.ask, topics.RELEASE_REQUEST)
        fetcher = Fetcher(Cache(data / "releases", settings.release_bytes), ask)
        self._uplink.listen(topics.RELEASE_PIECE, fetcher.hear)
        self._releases = Releases(fetcher, self._send, time.monotonic)
        self._ingest = Ingest(
            self._adapters, self._store, self._writer, unix_ms, self._tell_of_records, self._releases.hear
        )
        self._site_commands = SiteCommands(
            self._node, self._store.down, self._in_store, unix_ms, self._act_on, self._joining_tls
        )
        self._handlers: dict[str, Handler] = {
            "log": write_log,
            "publish": Publishing(broker.publish).publish,
            **dict.fromkeys(outgoing.KINDS, outgoing.Outgoing(data).perform),
        }
        self._performer = Performer(self._handlers, self._effects_due, self._settle_effect)
        partitions = self._node.partitions
        self._workflows = Runtime(
            self._automation.workflows,
            Checkpoints(self._node.store),
            acts_for_all if partitions is None else partitions.acts,
            self._in_store,
            self._follow_steps,
            unix_ms,
            count_nothing if partitions is None else partitions.did,
        )
        self._forwarder = None if partitions is None else self._forwarding(partitions)
        windows = self._automation.windows
        self._windows = None if partitions is None or windows is None else self._owning(partitions, windows)
        self._alarms = self._telling_of_alarms()
        self._holding = Holding(
            self._automation.holds,
            KeptHolds(self._node.store),
            partitions or Alone(),
            self._commit,
            self._deliver_committed,
            unix_ms,
        )
        kept = KeptTwins(self._node.store)
        self._store.twins.share(kept)
        self._wanting = Wanting(
            self._store.twins, kept, self._commit, self._ingest.tell_twins, self._tell_of_records, unix_ms
        )
        name = f"{identity.NAME}.workflows"
        local = ("127.0.0.1", settings.local_port)
        self._listener = Listener(local, name, local_tls, self._automation.workflows, self._keep_message)

    def _new_uplink(self, settings: configuration.Settings) -> Uplink:
        uplink = Uplink(
            settings.id,
            (settings.cloud_host, settings.cloud_port),
            client_context(settings.ca, settings.cert, settings.key, ssl.TLSVersion.TLSv1_3),
            self._outbox,
            self._store,
            self._writer,
            Clocks(steady_ms, unix_ms),
        )
        if settings.uplink_bytes_per_s is not None:
            uplink.limit(settings.uplink_bytes_per_s)
        uplink.describe(own_software().release, self._node.told)
        return uplink

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Raises StartFailed."""
        ordered: list[parts.Part] = [
            ("disk", self._disk()),
            ("consensus", self._node.joined()),
            ("instances", self._instances()),
            ("cluster", parts.Background("cluster", self._node.run, stop)),
            ("ingest", parts.Background("ingest", self._ingest.run, stop)),
            ("revocation", parts.Background("revocation", self._enforcement.run, stop)),
            ("uplink", parts.Background("uplink", self._uplink.run, stop)),
            ("releases", parts.Background("releases", self._releases.run, stop)),
            ("news", parts.Background("news", self._deliver_news, stop)),
            ("expiry", parts.Background("expiry", self._expire_commands, stop)),
            ("actions", parts.Background("actions", self._performer.run, stop)),
            ("workflows", parts.Background("workflows", self._workflows.run, stop)),
            ("holds", parts.Background("holds", self._holding.run, stop)),
            ("twins", parts.Background("twins", self._wanting.run, stop)),
            ("messages", parts.Background("messages", self._listener.run, stop)),
            ("time", parts.Background("time", self._tell_time, stop)),
            ("repeats", parts.Background("repeats", self._repeat, stop)),
            ("discovery", parts.Background("discovery", self._discover, stop)),
            ("status", self._status()),
        ]
        if self._settings.cluster is not None and self._forwarder is not None and self._windows is not None:
            takes = {
                PATH: self._forwarder.take,
                COMMANDS: self._site_commands.take,
                WINDOWS: self._windows.take,
                ALARMS: self._alarms.take,
            }
            ordered.append(("admission", self._admission(self._settings.cluster, takes)))
            ordered.append(("forwarding", parts.Background("forwarding", self._forwarder.run, stop)))
            ordered.append(("windows", parts.Background("windows", self._windows.run, stop)))
            ordered.append(("alarms", parts.Background("alarms", self._alarms.run, stop)))
            ordered.append(("joining", parts.Background("joining", self._be_added, stop)))
            ordered.append(("handing", parts.Background("handing", self._site_commands.run, stop)))
        if self._settings.mdns:
            from fieldloom_gateway import mdns  # noqa: PLC0415 - most gateways do without

            ordered.append(("mdns", mdns.announced(self._settings)))
        await parts.run(ordered, stop)

    def snapshot(self) -> dict[str, Any]:
        """Return what `status` tells."""
        return {
            "id": self._settings.id,
            "broker_connected": self._adapters[0].is_connected,
            "cloud_connected": self._uplink.is_connected,
            "outbox": {
                "records": self._outbox.waiting(),
                "sealed_lanes": len(self._outbox.sealed),
                **self._store.room.status(unix_ms()),
            },
            "dead_letters": self._store.letters.count,
            "dead_letters_thrown_away": self._store.letters.thrown_away,
            "transformers": self._writer.submit(self._transformers.status).result(),
            "rules": self._writer.submit(self._automation.status).result(),
            "workflows": {
                **self._workflows.status(),
                "waiting": self._writer.submit(self._automation.workflows.inbox.waiting).result(),
            },
            "twins": {"waiting": self._writer.submit(self._store.twins.count).result()},
            "ingest": dict(self._ingest.counts),
            "releases": self._releases.figures(),
            "cluster": self._node.status(),
            "adapters": [adapter.shown() for adapter in self._adapters],
        }

    def devices(self) -> list[dict[str, Any]]:
        """Return the presence of each device."""
        return self._writer.submit(self._store.devices).result()

    def _site(self) -> Site:
        own = self._settings
        known = Credentials(self._reader, unix_ms)
        return Site(
            own.id,
            self._data,
            own.ca,
            own.cert,
            own.key,
            known,
            self._waiting_for,
            self._ask_who_is_there,
            self._listen,
        )

    def _offered(self, configured: Sequence[factory.Configured]) -> list[Service]:
        """Return what others of the site may use here: what takes connections, so that it can be checked."""
        own = self._settings
        offered = [service(own.id, "mqtt", own.mqtt_host, own.mqtt_port)]
        served = [one.settings for one in configured if isinstance(one.settings, HttpSettings)]
        return offered + [service(own.id, one.name or one.protocol, one.host, one.port) for one in served]

    def _forwarding(self, partitions: Partitions) -> Forwarder:
        """Have instances come and go with partitions, and what happens to them go to their owners."""
        partitions.attend(self._workflows)
        ask = Caller(self._node.doors, self._joining_tls).ask
        ports = Ports(ask, self._in_store, self._commit)
        return Forwarder(self._node, partitions.owner, self._automation.workflows, self._workflows, ports)

    def _owning(self, partitions: Partitions, windows: Windows) -> SiteWindows:
        """Have windows of rules come and go with partitions, and what they are to hear go to their owners."""
        tls, deliver = self._joining_tls, self._deliver_committed
        ports = WindowPorts(self._in_store, self._commit, deliver, tls, unix_ms, time.monotonic)
        return SiteWindows(self._node, partitions, windows, ports)

    def _telling_of_alarms(self) -> Telling:
        ask, bury = Caller(self._node.doors, self._joining_tls).ask, self._store.bury
        ports = AlarmPorts(self._node.others, ask, self._in_store, self._commit, bury, unix_ms)
        return Telling(self._automation.alarms, ports)

    def _admission(
        self, given: configuration.ClusterSettings, takes: Mapping[str, Take]
    ) -> AbstractAsyncContextManager[None]:
        own = self._settings
        callers = Callers(Credentials(self._reader, unix_ms), self._data / "broker" / LIST)
        secret = files.read_secret(given.secret)
        app = door(self._node, secret, lambda certificate: callers.device("", certificate), takes)
        address = (split(given.address)[0], given.admission_port)
        way_out = "free the port or set cluster.admission_port"
        tls = server_context(own.ca, own.cert, own.key)
        return serving(app, "the door of the cluster", address, way_out, STOP_GRACE_S, tls)

    async def _be_added(self) -> None:
        await be_added(self._node, self._data, self._joining_tls)

    def _joining_tls(self) -> ssl.SSLContext:
        own = self._settings
        return joining_context(own.ca, own.cert, own.key)

    def _listen(self, tell: Callable[[Sequence[Message]], None]) -> None:
        self._ingest.listen(tell)

    async def _waiting_for(self, device: str) -> list[bytes]:
        return await self._ingest.waiting(device)

    async def _ask_who_is_there(self) -> None:
        await self._ingest.greet_all()

    async def _discover(self) -> None:
        while True:
            await asyncio.sleep(self._settings.discovery_minutes * 60)
            await self._ask_who_is_there()

    async def _deliver_news(self) -> None:
        while True:
            await self._deliver(*await self._uplink.news.get())

    async def _act_on(self, fresh: Sequence[Downward]) -> None:
        self._tell_of_records()
        for message in fresh:
            await self._deliver(*message)

    async def _deliver(self, device: str, verb: str, payload: bytes) -> None:
        if verb == topics.COMMAND:
            self._expect_release(messages.parse_command(payload))
        await self._ingest.send(device, verb, payload)

    def _expect_release(self, command: dict[str, Any]) -> None:
        if command["type"] == "update":
            self._releases.expect(command["parameters"].get("release"))

    async def _send(self, device: str, verb: str, payload: bytes) -> None:
        await self._ingest.send(device, verb, payload)

    async def _expire_commands(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_EVERY_S)
            try:
                if await self._in_store(self._look_at_the_clock, unix_ms()):
                    self._tell_of_records()
                for message in await self._in_store(self._store.messages):
                    await self._ingest.send(*message)
            except sqlite3.Error as error:
                # A full disk stops neither the process nor what is due: the next turn does it.
                log.error("disk_refused_what_is_due", error=str(error))  # noqa: TRY400

    def _look_at_the_clock(self, now: int) -> int:
        """Do what is due, and return how many records that made."""
        store, hours, slow_down = self._store, self._settings.outbox_hours, self._settings.slow_down
        made = store.down.expire(now, self._site_commands.leaves) + store.miss(now) + store.close_idle_windows(now)
        made += self._automation.look_at_the_clock(now)
        made += store.drop_older(now - int(hours * 3_600_000), now) if hours else 0
        return made + (store.ease(slow_down, now) if slow_down else 0)

    def _tell_of_records(self) -> None:
        """Have those look who do something with what was committed."""
        self._uplink.wake()
        if self._automation.effects.has_more:
            self._performer.wake()
        if self._windows is not None:
            self._windows.look()
        if self._store.twins.has_more:
            self._wanting.wake()
        inbox = self._automation.workflows.inbox
        if inbox.has_more:
            inbox.has_more = False
            self._workflows.wake()
            if self._forwarder is not None:
                self._forwarder.wake()

    async def _effects_due(self, limit: int) -> list[Due]:
        effects = self._automation.effects
        effects.has_more = False
        due: list[Due] = await self._in_store(effects.due, self._handlers, unix_ms(), limit)
        return due

    async def _settle_effect(self, one: Due, outcome: Outcome | Again) -> bool:
        effects = self._automation.effects
        take = effects.postpone if isinstance(outcome, Again) else effects.settle
        try:
            await self._in_store(self._store.commit, take, one, outcome, unix_ms())
        except sqlite3.Error as error:
            log.error("disk_refused_outcome", effect=one.id, error=str(error))  # noqa: TRY400
            return False
        self._tell_of_records()
        return True

    async def _follow_steps(self, followed: Followed) -> None:
        """Keep what has followed from steps of workflows, and tell devices and others who do something with it."""
        automation = self._automation
        follow = automation.workflows.follow
        await self._commit(follow, followed, automation.effects, unix_ms())
        await self._deliver_committed()

    async def _deliver_committed(self) -> None:
        """Tell devices, and others who do something with it, of what was committed beside the ingest."""
        self._tell_of_records()
        for message in await self._in_store(self._store.messages):
            await self._ingest.send(*message)

    async def _keep_message(self, topic: str, payload: bytes) -> None:
        """Keep a message on a topic of the site, as soon as there is room for it: before, it is not acknowledged."""
        message = SiteMessage(topic, payload, secrets.token_hex(16))
        while not await self._take_message(message):  # noqa: ASYNC110 - nobody tells that there is room
            await asyncio.sleep(EXPIRE_EVERY_S)
        self._tell_of_records()

    async def _take_message(self, message: SiteMessage) -> bool:
        try:
            return bool(await self._commit(self._automation.take_message, message, unix_ms()))
        except sqlite3.Error as error:
            log.error("disk_refused_message", topic=message.topic, error=str(error))  # noqa: TRY400
            return False

    async def _commit(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await self._in_store(self._store.commit, call, *arguments)

    async def _in_store(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._writer, call, *arguments)

    async def _tell_time(self) -> None:
        while True:
            await asyncio.sleep(TIME_EVERY_S)
            await self._ingest.tell_time()

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(REPEAT_EVERY_S)
            await self._ingest.repeat()

    @asynccontextmanager
    async def _disk(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self._writer.shutdown()
            self._reader.close()
            self._db.close()

    @asynccontextmanager
    async def _instances(self) -> AsyncIterator[None]:
        """Take the instances of workflows that go on here, those too of a map that this gateway had for itself."""
        workflows, service, is_alone = self._workflows, self._automation.workflows, self._node.partitions is None
        try:
            await self._holding.load()
            if is_alone:
                await workflows.load_all()
            else:
                workflows.start()
        except LoadFailed as error:
            raise StartFailed(str(error), "install the newer fieldloom-gateway again") from error
        for former in [self._data] if is_alone else [self._data, self._data / CLUSTER]:
            path = former / MAP
            if path.exists():
                entries = await entries_of(self._settings.id, former)
                await self._commit(service.put_all, former_instances(entries))
                await self._commit(self._store.twins.bring, former_twins(entries), unix_ms())
                path.unlink()
        if is_alone:
            while await workflows.turn():
                pass
            await workflows.forget_versions()
        await self._commit(service.place)
        await self._commit(service.listening.introduce, unix_ms())
        yield

    async def _show_twin(self, device: str) -> Shown:
        shown: Shown = await self._in_store(self._read_twin, device)
        return shown

    def _read_twin(self, device: str) -> Shown:
        twins = self._store.twins
        return Shown(twins.desired(device), twins.reported(device), twins.seen(device), twins.pending(device))

    def _status(self) -> AbstractAsyncContextManager[None]:
        app = status_app(self.snapshot, self.devices)
        guard(app)
        token = token_of(self._data)
        add_twins(app, token, TwinPorts(self._show_twin, self._wanting.ask))
        add_dead_letters(app, token, self._store, self._in_store, unix_ms)
        add_discovery(app, token, self._ingest.discover)
        add_reload(app, token, self._transformers, self._in_store)
        add_cluster(app, token, self._node)
        add_members(app, token, self._node, fingerprint(self._settings.ca), self._joining_tls)
        add_rules(app, token, self._automation, self._data, self._in_store, unix_ms)
        add_workflows(app, token, self._automation, self._workflows, self._data, self._commit, unix_ms)
        add_holds(app, token, self._automation.holds, self._holding, self._commit, unix_ms)
        for adapter in self._adapters:
            if adapter.app is not None:  # what runs on the gateway itself need not leave it to be heard
                app.mount("", adapter.app)
        address = ("127.0.0.1", self._settings.http_port)
        return serving(app, "the status page", address, "free the port or set http_port", STOP_GRACE_S)


async def serve(data: Path) -> None:
    """Run the gateway of a data folder until SIGTERM or SIGINT. Raises StartFailed."""
    gateway = Gateway(configuration.load(data), data)
    # Collections look neither through what the start has made, nor through each group several times while it is taken.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_AFTER)
    await gateway.run(parts.stop_on_signals())
