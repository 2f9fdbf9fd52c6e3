"""Three gateway processes act as one: formed by tokens, without their leader, with a stranger. (D1 to D3, D5, D7, O2)

Their brokers don't run: what a site shares needs none, and /readyz says so.
"""

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from functools import partial

import httpx2
import pytest
from typer.testing import CliRunner

from fieldloom_contract import messages
from fieldloom_gateway.cluster.consensus.member import Member
from fieldloom_gateway.cluster.consensus.membership import Membership
from fieldloom_gateway.cluster.handing import COMMANDS
from fieldloom_gateway.cluster.joining import NotLetIn, joining_context, post
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_gateway.cluster.told import Ended, Told, Waiting, encode
from fieldloom_gateway.command_cluster import app as cluster_commands
from fieldloom_gateway.commands import app as gateway_commands
from fixtures.certificates import TestAuthority
from fixtures.processes import FIELDLOOM, Process, free_port

NAMES = ("gw.a", "gw.b", "gw.c")
SECONDS = 60


class Gateway:
    """A gateway of the site; `init` is the command's result."""

    def __init__(self, folder, authority, name):
        self.name = name
        self.data = folder / name
        self.ports = {port: free_port() for port in ("peers", "admission", "http", "mqtt", "local", "cloud")}
        self._identity = authority.issue(name)
        self._authority = authority
        self.process = Process([FIELDLOOM, "gateway", "run", "--data", self.data], folder / f"{name}.log")

    @property
    def address(self):
        return f"127.0.0.1:{self.ports['peers']}"

    def init(self, *options, name=None):
        cert, key = self._identity
        command = ["init", "--data", self.data, "--id", name or self.name, "--ca", self._authority.ca]
        command += ["--cert", cert, "--key", key, "--crl", self._authority.crl, "--cluster", self.address]
        for port in ("cloud", "mqtt", "local", "http"):
            command += [f"--{port}-port", self.ports[port]]
        return invoke(gateway_commands, *command, "--admission-port", self.ports["admission"], *options)

    def start(self):
        self.process.start()
        return self

    def ask(self, command, *arguments):
        return invoke(cluster_commands, command, *arguments, "--data", self.data)

    def told(self, command, *arguments):
        """Return what a command tells as JSON, None while the gateway can't."""
        done = self.ask(command, *arguments, "--json")
        return json.loads(done.stdout) if done.exit_code == 0 else None

    def states(self):
        return {one["name"]: one["state"] for one in (self.told("members") or {"items": []})["items"]}

    def services(self):
        told = self.told("services") or {"items": []}
        return {(one["service"]["name"], one["member"]): one["status"] for one in told["items"]}

    def tell(self, other, body, identity=None):
        """Tell another one of commands, as this one does; `identity` is another certificate with its key."""
        tls = joining_context(self._authority.ca, *(identity or self._identity))
        return post(other.name, f"127.0.0.1:{other.ports['admission']}", COMMANDS, body, tls)

    def rows(self, query, *values):
        with closing(sqlite3.connect(self.data / "gateway.db", timeout=20)) as db:
            return db.execute(query, values).fetchall()

    def keeps(self, command):
        return bool(self.rows("SELECT 1 FROM command WHERE id = ?", command))

    def expiries(self, command):
        """How often it tells the cloud that a command has expired."""
        bodies = b"".join(body for (body,) in self.rows("SELECT body FROM outbox"))
        told = [json.loads(line) for line in bodies.splitlines()]
        return [one["kind"] for one in told if one.get("id") == command].count("expired")

    def get(self, path):
        return httpx2.get(f"http://127.0.0.1:{self.ports['http']}{path}", timeout=20)


def invoke(app, *arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def until(is_so):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if found := is_so():
            return found
        time.sleep(0.2)
    raise AssertionError(f"not so after {SECONDS} s")


def all_active(gateways):
    return all(one.states() == dict.fromkeys(NAMES, "active") for one in gateways)


class Site:
    """The gateways, and the token by which the last one came."""

    def __init__(self, folder):
        self.folder = folder
        self.authority = TestAuthority(folder / "pki")
        self.gateways = [Gateway(folder, self.authority, name) for name in NAMES]

    def form(self):
        first, *others = self.gateways
        assert first.init().exit_code == 0
        first.start()
        for one in others:
            token = until(lambda one=one: self.token(first, one.name))
            joined = one.init("--join", token)
            assert joined.exit_code == 0, joined.output
            one.start()
        self.used = token
        until(partial(all_active, self.gateways))

    def token(self, member, name):
        told = member.told("invite", name)
        return told and told["token"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("site"))
    try:
        site.form()
        yield site
    finally:
        for one in site.gateways:
            one.process.stop()


def test_what_one_gateway_says_is_known_at_all_and_shown(site):
    first, second, third = site.gateways
    offered = {("mqtt", name) for name in NAMES} | {("admission", name) for name in NAMES}

    until(lambda: all(one.services().keys() == offered for one in site.gateways))
    until(lambda: third.services()["admission", "gw.a"] == "healthy")
    listed = first.ask("members").stdout
    status = second.told("status")
    metrics = third.get("/metrics").text

    assert listed.splitlines()[0].split() == ["GATEWAY", "STATE", "ADDRESS", "RELEASE", "HEARD", "OF"]
    assert listed.count(" active ") == 3
    assert listed.count("leads") == 1
    assert status["leader"] in NAMES
    assert status["consensus"]["term"] >= 1
    assert "fieldloom_gateway_cluster_members 3.0" in metrics
    assert "fieldloom_gateway_consensus_term " in metrics
    assert (first.data / "cluster" / "secret").stat().st_mode & 0o777 == 0o600
    assert third.get("/readyz").json()["cluster"] is None
    assert not (third.data / "cluster" / "join.token").exists()


def test_a_token_lets_in_once_and_one_alone_and_says_what_is_wrong(site):
    first, stranger = site.gateways[0], Gateway(site.folder, site.authority, "gw.stranger")
    token = site.token(first, "gw.stranger")
    thief = Gateway(site.folder, TestAuthority(site.folder / "other"), "gw.stranger")
    impostor = Gateway(site.folder, site.authority, "gw.impostor")

    used = stranger.init("--join", site.used, name="gw.c")
    other = impostor.init("--join", token)
    faked = impostor.init("--join", token, name="gw.stranger")
    of_another_ca = thief.init("--join", token)
    cut = stranger.init("--join", token[:-20])
    nobody = first.ask("invite", "nodot")

    assert "not let in (the token does not let gw.stranger in: have a new one made" in used.stderr
    assert "the token lets gw.stranger in, not gw.impostor" in other.stderr
    assert "not let in (the token does not let gw.impostor in" in faked.stderr
    assert "the token is of a site with another CA" in of_another_ca.stderr
    assert "--join: the token is not whole" in cut.stderr
    assert "must hold a dot" in nobody.stderr
    assert "gw.stranger" not in first.states()


async def test_who_does_not_know_the_secret_is_refused(site):
    first = site.gateways[0]
    others = {one.name: one.address for one in site.gateways}
    address = f"127.0.0.1:{free_port()}"
    stranger = Membership("gw.x", address, others | {"gw.x": address}, b"?" * 32, site.folder / "gw.x")

    async with Member(stranger, ReplicatedMap()) as member:
        refused = await asyncio.to_thread(until, lambda: first.told("status")["consensus"]["refused"].get("not_sealed"))
        leader = member.leader

    assert refused >= 1
    assert leader is None
    assert set(first.states()) == set(NAMES)


def test_who_is_no_member_is_not_found(site):
    removed = site.gateways[0].ask("remove", "gw.nobody")
    moved = site.gateways[0].ask("move", "pump-1", "gw.nobody")

    for done in (removed, moved):
        assert "gw.nobody is no member of this cluster" in done.stderr
        assert done.exit_code == 3  # as of other commands


def waiting(name, lives_s):
    expires = time.time_ns() // 1_000_000 + lives_s * 1000
    return Waiting(name, "pump-1", messages.command(name, "read", {}, expires), expires)


def test_a_command_is_at_every_gateway_until_it_ends_at_one(site):
    first, second, third = site.gateways
    kept = waiting("kept-until-it-ends", 3600)

    first.tell(second, encode(Told([kept], [])))
    until(lambda: all(one.keeps(kept.id) for one in site.gateways))
    for other in (second, third):
        first.tell(other, encode(Told([], [Ended(kept.id, kept.device, kept.expires, None)])))
    first.tell(second, encode(Told([kept], [])))  # a late copy

    assert [one.keeps(kept.id) for one in site.gateways] == [True, False, False]


def test_that_a_command_has_expired_is_told_by_one_gateway(site):
    first, second, _ = site.gateways
    short = waiting("expires-everywhere", 20)

    first.tell(second, encode(Told([short], [])))
    until(lambda: all(one.keeps(short.id) for one in site.gateways))
    until(lambda: not any(one.keeps(short.id) for one in site.gateways))

    assert [one.expiries(short.id) for one in site.gateways] == [1, 0, 0]


def test_none_but_a_member_may_tell_of_commands(site):
    first, second, _ = site.gateways
    good = waiting("of-a-stranger", 3600)
    wrong = good._replace(payload=b"{}")

    with pytest.raises(NotLetIn, match="pump-1 is no member of this cluster"):
        first.tell(second, encode(Told([good], [])), site.authority.issue("pump-1"))
    with pytest.raises(NotLetIn, match="id: "):
        first.tell(second, encode(Told([wrong], [])))
    with pytest.raises(NotLetIn, match="Expected `array`"):
        first.tell(second, b"\x91")
    with pytest.raises(NotLetIn, match="at most 1048576 bytes"):
        first.tell(second, bytes(2**20 + 1))

    assert not second.keeps(good.id)


def test_a_killed_leader_is_followed_and_comes_back_active(site):
    leader = next(one for one in site.gateways if one.name == one.told("status")["leader"])
    others = [one for one in site.gateways if one is not leader]
    leader.process.kill()

    def follow():
        found = others[0].told("status")["leader"]
        return found if found not in (None, leader.name) else None

    until(follow)
    until(lambda: others[1].states()[leader.name] == "down")
    removed = others[0].ask("remove", others[1].name)
    leader.start()
    until(partial(all_active, site.gateways))

    assert f"{others[1].name} is active: let it leave by itself" in removed.stderr


def test_one_leaves_and_without_a_majority_the_last_goes_on_and_says_so(site):
    leader = next(one for one in site.gateways if one.name == one.told("status")["leader"])
    first, second = (one for one in site.gateways if one is not leader)
    left = leader.ask("leave")
    settings = json.loads((leader.data / "gateway.json").read_text())
    until(lambda: first.states().keys() == {first.name, second.name} and first.told("status")["writable"])
    leader.process.stop()
    second.process.kill()

    fault = until(lambda: first.get("/readyz").json()["cluster"])
    status = first.get("/api/v1/status").json()
    refused = first.ask("invite", "gw.d")

    assert left.exit_code == 0, left.output
    assert settings["cluster"] is None
    assert not (leader.data / "cluster").exists()
    assert "no leader: a majority of the cluster's gateways has to be up" in fault
    assert not status["cluster"]["writable"]
    assert "ingest" in status
    assert refused.exit_code == 1
