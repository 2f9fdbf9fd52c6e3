"""Credentials that are no certificates: shown once, kept hashed or sealed, rotated, revoked, told to gateways. (P8)"""

import asyncio
import contextlib
import hashlib
import json
from base64 import b64decode

import pytest

from cloud.conftest import made
from fieldloom_cloud.credentials import service
from fieldloom_cloud.credentials.service import Wish
from fieldloom_cloud.database import Database
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.pki.sealing import Sealer
from fieldloom_cloud.registry import service as registry
from fieldloom_runtime import down
from fixtures.commands import fieldloom


def issue(api, device, kind, **fields):
    return api.post("/api/v1/credentials", json={"device": device, "kind": kind, **fields})


@pytest.fixture(scope="module")
def device(cloud):
    with cloud.client(cloud.token) as api:
        api.post("/api/v1/devices", json={"id": "meter-1"}).raise_for_status()
    return "meter-1"


def test_a_secret_is_shown_once_and_the_list_tells_none(api, device):
    issued = issue(api, device, "http")

    assert issued.status_code == 201
    assert issued.json()["id"].startswith("meter-1.")
    assert issued.json()["secret"].startswith("fld_")
    listed = api.get("/api/v1/credentials", params={"device": device}).json()["items"]
    assert [(one["id"], one["ends"], one["revoked"]) for one in listed] == [(issued.json()["id"], None, None)]
    assert "secret" not in listed[0]
    assert api.get("/api/v1/credentials", params={"device": "meter-2"}).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"device": "nobody", "kind": "http"}, "device"),
        ({"device": "meter-1", "kind": "pin"}, "kind"),
        ({"device": "meter-1"}, "kind"),
        ({"device": "meter-1", "kind": "amqp", "overlap_hours": 1.5}, "overlap_hours"),
        ({"device": "meter-1", "kind": "http", "overlap_hours": -1}, "overlap_hours"),
        ({"device": "meter-1", "kind": "http", "colour": "red"}, "colour"),
    ],
)
def test_a_bad_wish_is_refused_by_name(api, device, body, path):
    refused = api.post("/api/v1/credentials", json=body)

    assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, path)


def test_it_is_revoked_once_and_what_is_not_there_is_said(api, device):
    credential = issue(api, device, "psk").json()["id"]
    first = api.post(f"/api/v1/credentials/{credential}/revoke", json={"reason": "key_compromise"}).json()

    again = api.post(f"/api/v1/credentials/{credential}/revoke", json={"reason": "superseded"})

    assert (again.json(), first["reason"]) == (first, "key_compromise")
    assert api.post("/api/v1/credentials/meter-1.beef/revoke", json={}).status_code == 404


def test_the_command_issues_lists_and_revokes_and_a_revoked_device_loses_all(api, cloud, monkeypatch, capsys):
    monkeypatch.setenv("FIELDLOOM_API", f"http://127.0.0.1:{cloud.port}")
    monkeypatch.setenv("FIELDLOOM_TOKEN", cloud.token)
    api.base_url = f"http://127.0.0.1:{cloud.port}/api/v1"
    api.post("/devices", json={"id": "meter-9"}).raise_for_status()

    def told(*arguments):
        fieldloom("device", *arguments, "--json")
        return json.loads(capsys.readouterr().out)

    first = told("credential", "issue", "meter-9", "--kind", "http")
    second = told("credential", "issue", "meter-9", "--kind", "oscore")
    assert len(bytes.fromhex(second["secret"])) == 16
    assert told("credential", "revoke", first["id"], "--reason", "superseded")["reason"] == "superseded"
    assert [one["id"] for one in told("revoke", "meter-9")["items"]] == [second["id"]]
    assert all(one["revoked"] for one in told("credential", "list", "meter-9")["items"])


@contextlib.asynccontextmanager
async def fleet(folder, new_database):
    """The tables of a cloud with two sites, a gateway and a device each."""
    where = await asyncio.to_thread(made, new_database, folder)
    database, sealer = Database(where), Sealer(folder / "credentials.key")
    async with database.transaction() as session:
        for number in (1, 2):
            await registry.add_site(session, f"s{number}", "")
            await registry.add_gateway(session, f"gw.{number}", f"s{number}")
            await registry.add_device(session, {"id": f"dev-{number}", "site": f"s{number}"})
    yield database, sealer
    await database.close()


async def told(session, sealer, gateway):
    """What a gateway is told, in order, as it goes out."""
    waiting = [one for one in await dispatch.waiting(session, lambda _: True) if one.gateway == gateway]
    return [down.decode(body) for body in await service.told(session, sealer, waiting)]


async def test_only_the_gateways_of_the_site_are_told_and_of_each_kind_what_it_needs(tmp_path, new_database):
    async with fleet(tmp_path, new_database) as (database, sealer), database.transaction() as session:
        wishes = [Wish("dev-1", kind, 24, "t") for kind in ("http", "psk", "oscore", "amqp")]
        issued = [await service.issue(session, sealer, wish) for wish in wishes]

        token, psk, oscore, amqp = await told(session, sealer, "gw.1")
        assert await told(session, sealer, "gw.2") == []

    assert token.secret == hashlib.sha256(issued[0]["secret"].encode()).digest()
    assert psk.secret == issued[1]["secret"].encode()
    assert oscore.secret == bytes.fromhex(issued[2]["secret"])
    salted = b64decode(amqp.secret)
    assert salted[4:] == hashlib.sha256(salted[:4] + issued[3]["secret"].encode()).digest()
    assert (tmp_path / "credentials.key").stat().st_mode & 0o777 == 0o600


async def test_the_one_before_of_a_kind_ends_with_the_overlap(tmp_path, new_database):
    async with fleet(tmp_path, new_database) as (database, sealer), database.transaction() as session:
        for kind, hours in (("psk", 24), ("amqp", 24), ("psk", 24), ("psk", 0)):
            await service.issue(session, sealer, Wish("dev-1", kind, hours, "t"))
        sent = await told(session, sealer, "gw.1")
        listed, _ = await service.credentials(session, "dev-1", service.pages.Asked(limit=9))

    now = {one.id: one.ends for one in sent}  # the newest record of each counts, and names what is so now
    assert len(sent) == 7
    assert sorted((one["kind"], one["ends"] is None) for one in listed) == [
        ("amqp", True),
        ("psk", False),
        ("psk", False),
        ("psk", True),
    ]
    first, second = (ends for ends in now.values() if ends is not None)
    assert first == second


async def test_a_gateway_whose_disk_is_new_is_told_all_again_what_was_revoked_too(tmp_path, new_database):
    async with fleet(tmp_path, new_database) as (database, sealer), database.transaction() as session:
        kept = await service.issue(session, sealer, Wish("dev-1", "psk", 24, "t"))
        gone = await service.issue(session, sealer, Wish("dev-1", "http", 24, "t"))
        await service.revoke(session, gone["id"], "unspecified")
        await session.flush()
        before = len(await told(session, sealer, "gw.1"))

        await service.restore(session, "gw.1")
        await service.restore(session, "gw.2")

        again = (await told(session, sealer, "gw.1"))[before:]
        assert [(one.id, one.secret, one.ends) for one in again] == [
            (kept["id"], kept["secret"].encode(), None),
            (gone["id"], b"", 0),
        ]
        assert await told(session, sealer, "gw.2") == []


async def test_a_lost_key_file_holds_nothing_else_up(tmp_path, new_database):
    async with fleet(tmp_path, new_database) as (database, sealer), database.transaction() as session:
        await service.issue(session, sealer, Wish("dev-1", "psk", 24, "t"))
        await service.issue(session, sealer, Wish("dev-1", "http", 24, "t"))
        (tmp_path / "credentials.key").unlink()

        withdrawn, token = await told(session, sealer, "gw.1")

    assert isinstance(withdrawn, down.Withdrawn)
    assert isinstance(token, down.Credential)


def test_a_sealed_secret_opens_under_its_own_name_alone(tmp_path):
    sealer = Sealer(tmp_path / "key")
    sealed = sealer.seal("dev-1.a", b"secret")

    assert sealer.open("dev-1.a", sealed) == b"secret"
    assert sealer.open("dev-2.b", sealed) is None
    assert sealer.open("dev-1.a", sealed[:-1]) is None
    assert sealer.open("dev-1.a", b"") is None


def test_what_lies_in_the_database_of_a_cloud_is_no_secret(cloud, api, device):
    shown = [issue(api, device, kind).json()["secret"] for kind in ("http", "psk", "oscore", "amqp")]

    stored = cloud.stored()
    assert not [secret for secret in shown if secret.encode() in stored or secret.encode().hex().encode() in stored]
