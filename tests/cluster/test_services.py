"""Services of a site: registered, found, selected, watched, and checked at real servers. (D5)"""

import asyncio
import contextlib
import random
import socket
from collections import Counter

import pytest

from cluster.conftest import SECONDS, open_store
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster.membership.records import alive_key, record_key
from fieldloom_gateway.cluster.services.checks import perform
from fieldloom_gateway.cluster.services.definition import Check, Service, encode
from fieldloom_gateway.cluster.services.directory import Directory
from fieldloom_gateway.cluster.services.errors import AlreadyRegistered, NoService, NotActive
from fieldloom_gateway.cluster.services.health import Health, together
from fieldloom_gateway.cluster.services.keeper import Keeper
from fieldloom_gateway.cluster.state.commands import Set
from fixtures.web import Answer, server

RECORD, HOLDER = record_key("gw.test"), alive_key("gw.test")


def service(number=1, **fields):
    return Service(**{"name": "api", "id": f"api-{number}", "host": "127.0.0.1", "port": 8080, **fields})


@pytest.fixture
async def site(store):
    """A store and the directory of its only gateway, which is active."""
    await store.transaction([], [Set(RECORD, b""), Set(HOLDER, b"")])
    return store, Directory(store, random.Random(1))


@contextlib.asynccontextmanager
async def keeping(store):
    keeper = Keeper(store, random.Random(1))
    running = asyncio.create_task(keeper.run())
    try:
        yield keeper
    finally:
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled(), running.exception()


async def until(watch, holds):
    """Return the next thing watched for which something holds."""
    async with asyncio.timeout(SECONDS):
        async for seen in watch:
            if holds(seen):
                return seen
    raise AssertionError("the watch ended")


async def test_what_is_registered_is_found_until_it_is_deregistered(site):
    _, directory = site
    await directory.register(service(2, metadata={"zone": "north"}))
    await directory.register(service(1))
    await directory.register(service(1, name="broker", checks=(Check(),)))

    found = directory.discover("api")

    assert [one.service.id for one in found] == ["api-1", "api-2"]
    assert (found[1].service.metadata, found[1].member, found[1].status) == ({"zone": "north"}, "gw.test", "healthy")
    assert [one.service.name for one in directory.discover()] == ["api", "api", "broker"]
    assert [one.service.name for one in directory.discover(healthy=True)] == ["api", "api"]
    assert await directory.deregister("api", "api-1") is True
    assert await directory.deregister("api", "api-1") is False
    assert [one.service.id for one in directory.discover("api")] == ["api-2"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "a/b"}, "name"),
        ({"id": ""}, "id"),
        ({"host": "a b"}, "host"),
        ({"port": 0}, "port"),
        ({"metadata": {"a": "x" * 257}}, "metadata.a"),
        ({"metadata": dict.fromkeys(map(str, range(33)), "")}, "metadata"),
        ({"checks": (Check(),) * 9}, "checks"),
        ({"checks": (Check(path="x"),)}, "checks[0].path"),
        ({"checks": (Check(interval_s=float("nan")),)}, "checks[0].interval_s"),
        ({"checks": (Check(timeout_s=0),)}, "checks[0].timeout_s"),
        ({"checks": (Check(), Check(failures=0))}, "checks[1].failures"),
        ({"checks": (Check(successes=101),)}, "checks[0].successes"),
        ({"checks": (Check(port=70_000),)}, "checks[0].port"),
    ],
    ids=str,
)
async def test_a_definition_that_can_not_be_used_is_named(site, fields, field):
    with pytest.raises(Rejected) as refused:
        await site[1].register(service(**fields))

    assert refused.value.field == field


async def test_only_an_active_gateway_registers(store):
    with pytest.raises(NotActive, match=r"gw\.test is no active member of its cluster"):
        await Directory(store, random.Random()).register(service())


@pytest.mark.parametrize("gone", [RECORD, HOLDER])
async def test_a_gateway_that_falls_silent_while_it_registers_is_told_so(site, gone):
    """The chaos of tests/cluster/chaos has found it: it ended the gateway."""
    store, directory = site

    _, told = await asyncio.gather(store.delete(gone), directory.register(service()), return_exceptions=True)

    assert isinstance(told, NotActive)
    assert directory.discover() == []


async def test_another_gateways_service_is_left_alone(site):
    store, directory = site
    await directory.register(service())
    taken = store.peek("services/api/api-1")
    await store.set(taken.key, taken.value.replace(b"gw.test", b"gw.away"), holder=HOLDER)

    with pytest.raises(AlreadyRegistered, match=r"api/api-1 is registered by gw\.away: deregister it there"):
        await directory.register(service())
    assert await directory.deregister("api", "api-1") is True
    async with keeping(store):
        await store.set("registered/gw.test/api/api-1", encode(service()))
        await store.set("registered/gw.test/api/api-2", encode(service(2)))
        await until(directory.follow(), lambda seen: seen.id == "api-2")

    assert [one.member for one in directory.discover()] == ["gw.away", "gw.test"]


async def test_instances_are_selected_by_a_strategy(site):
    _, directory = site
    for number in (1, 2, 3):
        await directory.register(service(number))
    await directory.report_load("api", "api-1", 5)
    await directory.report_load("api", "api-2", 1)
    await directory.report_load("api", "api-3", 1)

    def chosen(strategy):
        return [directory.select("api", strategy).service.id for _ in range(60)]

    assert chosen("round_robin")[:4] == ["api-1", "api-2", "api-3", "api-1"]
    assert set(chosen("random")) == {"api-1", "api-2", "api-3"}
    assert set(Counter(chosen("least_loaded"))) == {"api-2", "api-3"}


async def test_what_is_not_healthy_is_not_selected(site):
    _, directory = site

    with pytest.raises(NoService, match="no service 'api' can be selected: nobody has registered one"):
        directory.select("api")
    await directory.register(service(checks=(Check(),)))
    with pytest.raises(NoService, match="none of its 1 instances is healthy"):
        directory.select("api")


async def test_a_load_has_to_be_of_something(site):
    with pytest.raises(Rejected, match="id: api/api-1 is not registered"):
        await site[1].report_load("api", "api-1", 1)
    with pytest.raises(Rejected, match="load: nan is not 0 or more"):
        await site[1].report_load("api", "api-1", float("nan"))


async def test_who_follows_is_told_what_comes_changes_and_goes(site):
    _, directory = site
    await directory.register(service())
    watch = directory.follow("api")
    first = await anext(watch)
    await directory.register(service(name="other"))
    await directory.report_load("api", "api-1", 2.0)
    await directory.deregister("api", "api-1")

    seen = [first, await anext(watch), await anext(watch)]

    assert [(one.id, one.instance and one.instance.load) for one in seen] == [
        ("api-1", 0.0),
        ("api-1", 2.0),
        ("api-1", None),
    ]


async def test_checks_at_real_servers_pass_and_say_what_is_wrong():
    with server("127.0.0.1", [Answer(200), Answer(204), Answer(503), Answer(302, {"Location": "/"})]) as (
        port,
        arrived,
    ):
        at_port = service(port=port)
        http = Check(kind="http", path="/healthz")
        results = [await perform(http, at_port) for _ in range(4)]
        tcp = await perform(Check(), at_port)
        no_tls = await perform(Check(kind="http", tls=True), at_port)
    down = [await perform(check, at_port) for check in (Check(), http)]

    assert results == [None, None, "answered 503", "answered 302"]
    assert (tcp, arrived[0].path) == (None, "/healthz")
    assert "SSL" in no_tls
    assert down == ["Connection refused"] * 2
    assert await perform(Check(), service(host="a..b"))


async def test_a_check_does_not_wait_for_ever():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        check = Check(kind="http", timeout_s=0.1)
        fault = await perform(check, service(port=silent.getsockname()[1]))

    assert fault == "no answer within 0.1 s"


def after(*results, check=None, health=None):
    health = health or Health()
    for fault in results:
        health = health.after(fault, check or Check(failures=3, successes=2))
    return health.status, health.fault


@pytest.mark.parametrize(
    ("results", "told"),
    [
        ([], ("unknown", "")),
        ([None], ("unknown", "")),
        ([None, None], ("healthy", "")),
        ([None, "x", None], ("unknown", "")),
        (["x", "x"], ("unknown", "x")),
        (["x", "x", "y"], ("unhealthy", "y")),
        ([None, None, "x", "x"], ("healthy", "x")),
        ([None, None, "x", "x", None, "x", "x"], ("healthy", "x")),
        ([None, None, "x", "x", "x"], ("unhealthy", "x")),
        (["x", "x", "x", None], ("unhealthy", "x")),
        (["x", "x", "x", None, "y", None], ("unhealthy", "y")),
        (["x", "x", "x", None, None], ("healthy", "")),
    ],
    ids=str,
)
def test_a_service_is_judged_by_some_results_in_a_row(results, told):
    assert after(*results) == told


def test_a_service_is_as_its_worst_check():
    well, ill = Health("healthy"), Health("unhealthy", "x")

    assert together([]) == ("healthy", "")
    assert together([well, Health()]) == ("unknown", "")
    assert together([well, Health(), ill]) == ("unhealthy", "x")


async def test_a_service_is_healthy_while_its_server_answers(site):
    store, directory = site
    quick = {"interval_s": 0.1, "failures": 2, "successes": 2}
    watch = directory.follow("api")
    async with keeping(store):
        with server("127.0.0.1") as (port, _):
            checks = (Check(kind="http", **quick), Check(**quick))
            await directory.register(service(port=port, checks=checks))
            well = await until(watch, lambda seen: seen.instance.is_healthy)
            assert directory.select("api").service.port == port
        ill = await until(watch, lambda seen: not seen.instance.is_healthy)
        with server("127.0.0.1", port=port):
            again = await until(watch, lambda seen: seen.instance.is_healthy)
        await directory.deregister("api", "api-1")
        gone = await until(watch, lambda seen: seen.instance is None)

    assert well.index < ill.index < again.index < gone.index
    assert (ill.instance.status, bool(ill.instance.fault)) == ("unhealthy", True)
    assert directory.discover() == []


async def test_services_go_with_their_gateway_and_come_back_with_it(tmp_path):
    async with open_store(tmp_path, grace_s=0.0) as store:
        directory = Directory(store, random.Random(1))
        await store.transaction([], [Set(RECORD, b""), Set(HOLDER, b"")])
        await directory.register(service())
        async with keeping(store):
            await store.delete(HOLDER)
            gone = directory.discover()
            await store.set(HOLDER, b"")
            back = await until(directory.follow(), lambda seen: seen.instance is not None)

    assert (gone, back.instance.is_healthy) == ([], True)


async def test_what_was_healthy_stays_so_over_a_restart(site):
    store, directory = site
    with server("127.0.0.1") as (port, _):
        await directory.register(service(port=port, checks=(Check(interval_s=0.1, successes=1),)))
        watch = directory.follow()
        async with keeping(store):
            modified = (await until(watch, lambda seen: seen.instance.is_healthy)).index
        async with keeping(store) as keeper:
            async with asyncio.timeout(SECONDS):
                while not keeper.checks_done:  # noqa: ASYNC110 - what is waited for sets no event
                    await asyncio.sleep(0.02)

        told = store.watch("services/", after=modified).ready()

    assert told == []
