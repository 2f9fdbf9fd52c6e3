"""What a gateway does only as a member of a cluster: what it hands to the others, and takes from them. (D1, D4, D7)"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fieldloom_gateway.adapters.callers import Callers
from fieldloom_gateway.adapters.factory import Configured
from fieldloom_gateway.adapters.http import HttpSettings
from fieldloom_gateway.automation.alarms.telling import PATH as ALARMS
from fieldloom_gateway.automation.alarms.telling import Ports as AlarmPorts
from fieldloom_gateway.automation.alarms.telling import Telling
from fieldloom_gateway.automation.instances import Instances
from fieldloom_gateway.automation.service import Automation
from fieldloom_gateway.automation.windows.handing import PATH as WINDOWS
from fieldloom_gateway.automation.windows.service import Windows
from fieldloom_gateway.automation.windows.site import Ports as WindowPorts
from fieldloom_gateway.automation.windows.site import SiteWindows
from fieldloom_gateway.automation.workflows.forwarding import PATH as HAPPENINGS
from fieldloom_gateway.automation.workflows.forwarding import Forwarder
from fieldloom_gateway.automation.workflows.forwarding import Ports as ForwarderPorts
from fieldloom_gateway.clock import unix_ms
from fieldloom_gateway.cluster.calling import Caller
from fieldloom_gateway.cluster.consensus.peers import split
from fieldloom_gateway.cluster.door import door
from fieldloom_gateway.cluster.handing import COMMANDS
from fieldloom_gateway.cluster.joining import be_added, joining_context
from fieldloom_gateway.cluster.node import Node, service
from fieldloom_gateway.cluster.partitions.service import Partitions
from fieldloom_gateway.cluster.services.definition import Service
from fieldloom_gateway.delivery import Delivery
from fieldloom_gateway.ingest.credentials import Credentials
from fieldloom_gateway.ingest.disk import Disk
from fieldloom_gateway.local import STOP_GRACE_S
from fieldloom_gateway.settings import ClusterSettings, Settings
from fieldloom_gateway.site_commands import SiteCommands
from fieldloom_runtime import files, parts
from fieldloom_runtime.door import LIST
from fieldloom_runtime.http import serving
from fieldloom_runtime.tls import server_context


def offered(own: Settings, configured: Sequence[Configured]) -> list[Service]:
    """Return what others of the site may use here: what takes connections, so that it can be checked. (D3)"""
    broker = service(own.id, "mqtt", own.mqtt_host, own.mqtt_port)
    served = [one.settings for one in configured if isinstance(one.settings, HttpSettings)]
    return [broker, *(service(own.id, one.name or one.protocol, one.host, one.port) for one in served)]


class Ports(NamedTuple):
    """The parts of a gateway that a member's part stands on."""

    settings: Settings
    data: Path
    disk: Disk
    node: Node
    automation: Automation
    instances: Instances
    delivery: Delivery


class Sharing:
    """One member's part: partitions bring and take what belongs to their devices."""

    def __init__(self, ports: Ports, cluster: ClusterSettings, partitions: Partitions, windows: Windows) -> None:
        self._ports = ports
        self._cluster = cluster
        own, node, disk, delivery = ports.settings, ports.node, ports.disk, ports.delivery
        self._tls = tls = partial(joining_context, own.ca, own.cert, own.key)
        self._commands = SiteCommands(node, disk.store.down, disk.in_store, unix_ms, delivery.act_on, tls)
        self.leaves = self._commands.leaves
        """Whether another gateway tells of a command that it has expired."""
        self._ask = Caller(node.doors, tls).ask
        self._forwarder = self._forwarding(partitions)
        window_ports = WindowPorts(disk.in_store, disk.commit, delivery.committed, tls, unix_ms, time.monotonic)
        self._windows = SiteWindows(node, partitions, windows, window_ports)
        disk.attend(self._windows.look)
        alarm_ports = AlarmPorts(node.others, self._ask, disk.in_store, disk.commit, disk.store.bury, unix_ms)
        self._alarms = Telling(ports.automation.alarms, alarm_ports)

    def ordered(self, stop: asyncio.Event) -> list[parts.Part]:
        """Return what runs, in the order of its start."""
        return [
            ("admission", self._admission()),
            ("forwarding", parts.Background("forwarding", self._forwarder.run, stop)),
            ("windows", parts.Background("windows", self._windows.run, stop)),
            ("alarms", parts.Background("alarms", self._alarms.run, stop)),
            ("joining", parts.Background("joining", self._be_added, stop)),
            ("handing", parts.Background("handing", self._commands.run, stop)),
        ]

    def _forwarding(self, partitions: Partitions) -> Forwarder:
        """Have instances come and go with partitions, and what happens to them go to their owners."""
        node, disk, instances = self._ports.node, self._ports.disk, self._ports.instances
        partitions.attend(instances.runtime)
        ports = ForwarderPorts(self._ask, disk.in_store, disk.commit)
        forwarder = Forwarder(node, partitions.owner, self._ports.automation.workflows, instances.runtime, ports)
        instances.attend(forwarder.wake)
        return forwarder

    def _admission(self) -> AbstractAsyncContextManager[None]:
        """Open the door at which the others ask, and those who want to be members."""
        own, cluster = self._ports.settings, self._cluster
        callers = Callers(Credentials(self._ports.disk.reader, unix_ms), self._ports.data / "broker" / LIST)
        takes = {
            HAPPENINGS: self._forwarder.take,
            COMMANDS: self._commands.take,
            WINDOWS: self._windows.take,
            ALARMS: self._alarms.take,
        }
        secret = files.read_secret(cluster.secret)
        app = door(self._ports.node, secret, lambda certificate: callers.device("", certificate), takes)
        address = (split(cluster.address)[0], cluster.admission_port)
        way_out = "free the port or set cluster.admission_port"
        tls = server_context(own.ca, own.cert, own.key)
        return serving(app, "the door of the cluster", address, way_out, STOP_GRACE_S, tls)

    async def _be_added(self) -> None:
        await be_added(self._ports.node, self._ports.data, self._tls)
