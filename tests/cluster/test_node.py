"""Gateways of a site over the real consensus, on loopback: a leader dies, and what it acted for is at work elsewhere.

D3, D4, D5, D7, W8; routes and commands are asked at one of them.
"""

import asyncio
import json
import ssl
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import structlog
from fastapi import FastAPI
from structlog.testing import capture_logs
from typer.testing import CliRunner

from cluster.conftest import SECONDS
from fieldloom_gateway.cluster.member_routes import add_members
from fieldloom_gateway.cluster.node import Node, service
from fieldloom_gateway.cluster.partitions import meter
from fieldloom_gateway.cluster.partitions.partition import PARTITIONS
from fieldloom_gateway.cluster.routes import add_cluster
from fieldloom_gateway.cluster.state import limits
from fieldloom_gateway.command_cluster import app as commands
from fieldloom_gateway.local import guard, token_of
from fieldloom_gateway.settings import FILE, ClusterSettings, Settings
from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.http import serving
from fixtures.processes import free_port, wait_for_port

NAMES = ("gw.a", "gw.b", "gw.c")


@pytest.fixture(autouse=True)
def _logs_beside_the_output():
    """A command's output is what goes to sys.stdout meanwhile; the gateways run in the same process and log too."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    yield
    structlog.reset_defaults()


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "cluster.secret"
    path.write_text("0123456789abcdef" * 4)
    path.chmod(0o600)
    return path


class Gateways:
    """The nodes of a site that run."""

    def __init__(self, folder, secret):
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in NAMES}
        given = {"members": self.addresses, "secret": secret, "strategy": "by_load"}
        self.nodes = {
            name: Node(name, folder / name, ClusterSettings(address=address, **given))
            for name, address in self.addresses.items()
        }
        self._stacks = {}

    async def start(self, name):
        stack = self._stacks[name] = AsyncExitStack()
        await stack.enter_async_context(self.nodes[name].joined())
        await stack.enter_async_context(at_work(self.nodes[name]))

    async def stop(self, name):
        del self.nodes[name]
        await self._stacks.pop(name).aclose()

    async def __aenter__(self):
        for name in NAMES:
            await self.start(name)
        return self

    async def __aexit__(self, *error):
        for name in list(self._stacks):
            await self.stop(name)

    def shares(self):
        return {name: node.partitions.status()["active"] for name, node in self.nodes.items()}

    async def all_at_work(self):
        """Wait until somebody acts for every partition."""
        await until(lambda: sum(self.shares().values()) == PARTITIONS)


async def until(is_so):
    async with asyncio.timeout(SECONDS):
        while not is_so():  # noqa: ASYNC110 - what it waits for is in several members
            await asyncio.sleep(0.02)


@asynccontextmanager
async def at_work(node):
    running = asyncio.create_task(node.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


@asynccontextmanager
async def interface(node, data):
    """The HTTP interface of a node; yields a call that runs a command at it."""
    port = free_port()
    data.mkdir(exist_ok=True)
    settings = Settings(id=node.store.name, ca="ca.pem", cert="cert.pem", key="key.pem", http_port=port)
    (data / FILE).write_text(settings.model_dump_json(exclude_none=True))
    app = FastAPI()
    guard(app)
    add_cluster(app, token_of(data), node)
    add_members(app, token_of(data), node, "ca", ssl.create_default_context)

    async def run(*arguments, code=0):
        command = [str(one) for one in (*arguments, "--data", data)]
        result = await asyncio.to_thread(CliRunner().invoke, commands, command)
        assert result.exit_code == code, result.output
        return result

    async with serving(app, "the status page", ("127.0.0.1", port), "free the port", 2):
        await asyncio.to_thread(wait_for_port, port)
        yield run


async def test_what_a_leader_acted_for_is_at_work_elsewhere_and_commands_tell_so(tmp_path, secret, capsys, monkeypatch):
    """Before that, what it has most to do for goes to the others, as they share by load. (ADR 71)"""
    monkeypatch.setattr(meter, "TELL_S", 0.5)
    async with Gateways(tmp_path, secret) as gateways:
        await gateways.all_at_work()
        leader = next(iter(gateways.nodes.values())).status()["leader"]
        leading = gateways.nodes[leader].partitions
        await until(lambda: gateways.shares()[leader] >= 6)
        busy = [at for at in range(PARTITIONS) if leading.acts(at)][:6]
        for at in busy:
            leading.did(at, 10_000)
        await until(lambda: sum(leading.acts(at) for at in busy) <= 3)
        await gateways.all_at_work()
        killed = time.monotonic()
        await gateways.stop(leader)
        await gateways.all_at_work()
        taken_over = time.monotonic() - killed
        word = gateways.nodes[next(iter(gateways.nodes))].told
        await until(lambda: [one.name for one in word().members if one.state == "down"] == [leader])
        to_cloud = word()
        with capsys.disabled():
            print(f"\ntaken over from the leader within {taken_over:.2f} s")

        one, other = gateways.nodes
        async with interface(gateways.nodes[one], tmp_path / one) as run:
            told = json.loads((await run("status", "--json")).stdout)
            members = json.loads((await run("members", "--json")).stdout)["items"]
            partitions = json.loads((await run("partitions", "--json")).stdout)["items"]
            listed = (await run("partitions")).stdout.splitlines()
            moved = await run("move", "sensor.1", other)
            refused = await run("move", "sensor.1", leader, code=1)
            await run("drain")
            await until(lambda: gateways.shares()[other] == PARTITIONS)
            drained = await run("status")
            resumed = await run("drain", "--resume", "--json")

    assert told["leader"] == to_cloud.leader != leader
    assert {one.partitions for one in to_cloud.members if one.name == leader} == {0}
    assert (sum(one.partitions for one in to_cloud.members), to_cloud.fault) == (PARTITIONS, "")
    assert told["partitions"]["takeovers"] > 0
    assert {member["name"] for member in members} == set(NAMES)
    assert len(partitions) == PARTITIONS
    assert {name for shown in partitions for name in shown["replicas"]} == {one, other}
    assert len([line for line in listed if "active" in line and " 0/s " in line and one in line]) > 0
    assert f"goes to {other}" in moved.stdout
    assert f"heir: '{leader}' is no gateway that takes part now" in refused.stderr
    assert "draining                  True" in drained.stdout
    assert not json.loads(resumed.stdout)["partitions"]["draining"]


async def test_a_gateway_that_is_alone_has_the_map_and_no_partitions(tmp_path):
    node = Node("gw.a", tmp_path, None)
    async with node.joined(), at_work(node), interface(node, tmp_path) as run:
        await until(node.roster.members)
        told = await run("status")
        members = await run("members")
        refused = await run("drain", code=1)

    assert node.told() is None
    assert "writable                  True" in told.stdout
    assert "gw.a                    active" in members.stdout
    assert "this gateway is alone: begin a cluster by" in refused.stderr


async def test_a_full_map_ends_no_gateway_that_beats_and_offers_once_there_is_room(tmp_path, monkeypatch):
    node = Node("gw.a", tmp_path, None, [service("gw.a", "mqtt", "127.0.0.1", 1883)])
    with capture_logs() as logs:
        said = lambda event: any(one["event"] == event for one in logs)  # noqa: E731 - shorter than a function
        monkeypatch.setattr(limits, "ENTRIES", 0)
        async with node.joined(), at_work(node):
            await until(lambda: said("heartbeat_missed"))
            monkeypatch.setattr(limits, "ENTRIES", 2)  # its record, and that it lives
            await until(lambda: said("services_not_offered"))
            monkeypatch.undo()
            await until(lambda: node.directory.discover("mqtt"))
            told = node.roster.members()

    assert [one.state for one in told] == ["active"]
    assert {one["reason"] for one in logs if "reason" in one} == {
        f"operations: the map holds {most} entries at most, and is full" for most in (0, 2)
    }


async def test_a_secret_that_others_can_read_or_nobody_has_written_is_refused(tmp_path, secret):
    given = ClusterSettings(address="127.0.0.1:7420", secret=secret)
    secret.chmod(0o640)
    with pytest.raises(StartFailed, match=r"can be read by others.*chmod 600"):
        Node("gw.a", tmp_path, given)
    secret.unlink()
    with pytest.raises(StartFailed, match=r"is missing.*openssl rand -hex 32"):
        Node("gw.a", tmp_path, given)
