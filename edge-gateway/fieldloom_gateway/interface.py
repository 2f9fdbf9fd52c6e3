"""The HTTP interface of a gateway on loopback, wired to its parts. (O2, V3)"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from fieldloom_gateway.adapters.kept import Kept
from fieldloom_gateway.automation.holds.routes import add_holds
from fieldloom_gateway.automation.holds.runtime import Runtime as Holding
from fieldloom_gateway.automation.instances import Instances
from fieldloom_gateway.automation.routes import add_rules
from fieldloom_gateway.automation.service import Automation
from fieldloom_gateway.automation.workflows.routes import add_workflows
from fieldloom_gateway.clock import unix_ms
from fieldloom_gateway.cluster.joining import joining_context
from fieldloom_gateway.cluster.member_routes import add_members
from fieldloom_gateway.cluster.node import Node
from fieldloom_gateway.cluster.routes import add_cluster
from fieldloom_gateway.dead_letters import add_dead_letters
from fieldloom_gateway.discovery import add_discovery
from fieldloom_gateway.fingerprint import fingerprint
from fieldloom_gateway.ingest.disk import Disk
from fieldloom_gateway.ingest.outbox import Outbox
from fieldloom_gateway.ingest.service import Ingest
from fieldloom_gateway.ingest.uplink import Uplink
from fieldloom_gateway.local import STOP_GRACE_S, guard, token_of
from fieldloom_gateway.releases.service import Releases
from fieldloom_gateway.settings import Settings
from fieldloom_gateway.status import status_app
from fieldloom_gateway.transformers import Transformers, add_reload
from fieldloom_gateway.twins.routes import Ports as TwinPorts
from fieldloom_gateway.twins.routes import Shown, add_twins
from fieldloom_gateway.twins.runtime import Runtime as Wanting
from fieldloom_runtime.http import serving


class Ports(NamedTuple):
    """The parts of a gateway that can be asked."""

    settings: Settings
    data: Path
    disk: Disk
    node: Node
    adapters: Sequence[Kept]
    """The first one is that of the gateway's own broker."""
    transformers: Transformers
    ingest: Ingest
    outbox: Outbox
    uplink: Uplink
    releases: Releases
    automation: Automation
    instances: Instances
    holding: Holding
    wanting: Wanting


class Interface:
    """What a gateway tells of itself, and takes from who can read its data folder."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def serving(self) -> AbstractAsyncContextManager[None]:
        """Return the server, to be entered. Raises StartFailed then."""
        ports, disk = self._ports, self._ports.disk
        app, token = status_app(self.snapshot, self.devices), token_of(ports.data)
        guard(app)
        own = ports.settings
        tls = partial(joining_context, own.ca, own.cert, own.key)
        add_twins(app, token, TwinPorts(self._show_twin, ports.wanting.ask))
        add_dead_letters(app, token, disk.store, disk.in_store, unix_ms)
        add_discovery(app, token, ports.ingest.discover)
        add_reload(app, token, ports.transformers, disk.in_store)
        add_cluster(app, token, ports.node)
        add_members(app, token, ports.node, fingerprint(own.ca), tls)
        add_rules(app, token, ports.automation, ports.data, disk.in_store, unix_ms)
        add_workflows(app, token, ports.automation, ports.instances.runtime, ports.data, disk.commit, unix_ms)
        add_holds(app, token, ports.automation.holds, ports.holding, disk.commit, unix_ms)
        for adapter in ports.adapters:
            if adapter.app is not None:  # what runs on the gateway itself need not leave it to be heard
                app.mount("", adapter.app)
        address = ("127.0.0.1", own.http_port)
        return serving(app, "the status page", address, "free the port or set http_port", STOP_GRACE_S)

    def snapshot(self) -> dict[str, Any]:
        """Return what `status` tells; not on the event loop's thread."""
        ports, disk, store = self._ports, self._ports.disk, self._ports.disk.store
        return {
            "id": ports.settings.id,
            "broker_connected": ports.adapters[0].is_connected,
            "cloud_connected": ports.uplink.is_connected,
            "outbox": {
                "records": ports.outbox.waiting(),
                "sealed_lanes": len(ports.outbox.sealed),
                **store.room.status(unix_ms()),
            },
            "dead_letters": store.letters.count,
            "dead_letters_thrown_away": store.letters.thrown_away,
            "transformers": disk.ask(ports.transformers.status),
            "rules": disk.ask(ports.automation.status),
            "workflows": {
                **ports.instances.runtime.status(),
                "waiting": disk.ask(ports.automation.workflows.inbox.waiting),
            },
            "twins": {"waiting": disk.ask(store.twins.count)},
            "ingest": dict(ports.ingest.counts),
            "releases": ports.releases.figures(),
            "cluster": ports.node.status(),
            "adapters": [adapter.shown() for adapter in ports.adapters],
        }

    def devices(self) -> list[dict[str, Any]]:
        """Return the presence of each device; not on the event loop's thread."""
        found: list[dict[str, Any]] = self._ports.disk.ask(self._ports.disk.store.presence.devices)
        return found

    async def _show_twin(self, device: str) -> Shown:
        shown: Shown = await self._ports.disk.in_store(self._read_twin, device)
        return shown

    def _read_twin(self, device: str) -> Shown:
        twins = self._ports.disk.store.twins
        return Shown(twins.desired(device), twins.reported(device), twins.seen(device), twins.pending(device))
