"""HTTP devices at a gateway's own server: 202 says that it is on the disk, a refusal says why. (C5, P8, T4, T5)"""

import asyncio
import contextlib
import hashlib
import ssl

import httpx2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from fieldloom_gateway.adapters import http, kept
from fieldloom_gateway.adapters.http import HttpAdapter, HttpSettings
from fieldloom_runtime import files
from fieldloom_runtime.down import Credential
from fieldloom_runtime.tls import client_context
from fixtures.certificates import TestAuthority
from fixtures.processes import free_port
from gateway.bench import NOW, WAIT_S, Bench, until

READING = {"values": {"t": 1}}
TOKEN = {"Authorization": "Bearer fld_one"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return TestAuthority(tmp_path_factory.mktemp("pki"))


@contextlib.asynccontextmanager
async def served(folder, authority, **settings):
    """A bench with an HTTP adapter, and a token of dev-1."""
    port = free_port()
    bench = Bench(folder)
    site = bench.site(authority)
    adapter = HttpAdapter(HttpSettings(protocol="http", port=port, **settings), site)
    bench.add("http", "http", adapter)
    bench.hear(Credential("dev-1.0123456789ab", "dev-1", "http", hashlib.sha256(b"fld_one").digest()))
    bench.port, bench.adapter, bench.lists = port, adapter, site.data / "broker" / "crl.pem"
    async with bench.running():
        yield bench


@pytest.fixture
async def plain(tmp_path, authority):
    async with (
        served(tmp_path, authority, tls=False) as bench,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{bench.port}", headers=TOKEN, timeout=WAIT_S) as client,
    ):
        bench.client = client
        yield bench


async def test_what_is_answered_with_202_is_on_the_disk(plain):
    for told in (READING, [READING, {"boot": 3, "seq": 1, "ts": 1_790_000_000_000, "values": {"t": 2}}]):
        answer = await plain.client.post("/ingest/dev-1", json=told)
        assert (answer.status_code, answer.content) == (202, b"")
    numbered = [{"boot": 3, "seq": 1, "ts": 1_790_000_000_000, "values": {"t": 2}}]
    assert (await plain.client.post("/ingest/dev-1", json=numbered)).status_code == 202  # a repeat is no fault
    event = {"type": "door.opened", "data": {"by": "key"}}
    assert (await plain.client.post("/ingest/dev-1/event", json=event)).status_code == 202

    told = [(one["kind"], one["device"], one.get("values", one.get("data"))) for one in plain.records()]
    readings = [("telemetry", "dev-1", {"t": 1})] * 2 + [("telemetry", "dev-1", {"t": 2})]
    assert told == [*readings, ("event", "dev-1", {"by": "key"})]
    assert plain.adapter.metrics.acks == 4


async def test_senml_is_taken_as_telemetry(plain):
    pack = '[{"bn":"urn:dev:mac:1:","bt":1700000000,"n":"t","v":20.5},{"n":"h","v":40},{"n":"t","t":1,"v":21}]'
    media = {"Content-Type": "application/senml+json"}

    assert (await plain.client.post("/ingest/dev-1", content=pack, headers=media)).status_code == 202

    told = [(one["ts"], one["values"]) for one in plain.records()]
    assert told == [(1_700_000_000_000, {"t": 20.5, "h": 40}), (1_700_000_001_000, {"t": 21})]


@pytest.mark.parametrize(
    ("path", "content", "headers", "status", "fault"),
    [
        ("", b'{"values":{"t":[1]}}', {}, 422, ("values.t", "must be a finite number, a boolean, a text or null")),
        ("", b"{", {}, 422, ("payload", "is not JSON")),
        ("", b'[{"n":"t"}]', {"Content-Type": "application/senml+json"}, 422, ("0.v", "is missing")),
        ("/event", b'{"data":{}}', {}, 422, ("type", "must be a text")),
        (
            "",
            b"t=1",
            {"Content-Type": "text/plain"},
            415,
            ("Content-Type", "must be application/json or application/senml"),
        ),
        (
            "/event",
            b"[]",
            {"Content-Type": "application/senml+json"},
            415,
            ("Content-Type", "must be application/json, not"),
        ),
        ("", b"[" + b" " * 70_000, {}, 413, ("payload", "has more than 65536 bytes")),
        ("", b"{}", {"Idempotency-Key": "k" * 65}, 422, ("Idempotency-Key", "must have 1 to 64 characters")),
    ],
)
async def test_bad_input_is_refused_by_name_and_kept(plain, path, content, headers, status, fault):
    answer = await plain.client.post(
        f"/ingest/dev-1{path}", content=content, headers={"Content-Type": "application/json", **headers}
    )

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    (told,) = answer.json()["errors"]
    assert told["path"] == fault[0]
    assert told["reason"].startswith(fault[1])
    (letter,) = plain.letters()
    assert letter[2].startswith(": ".join(fault))
    assert plain.adapter.metrics.errors == 1


async def test_who_proves_nothing_is_turned_away_and_nothing_of_it_is_kept(plain):
    for shown in ("", "Bearer", "Bearer fld_two", "Basic fld_one", "fld_one"):
        answer = await plain.client.post("/ingest/dev-1", json=READING, headers={"Authorization": shown})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    foreign = await plain.client.post("/ingest/dev-2", json=READING)

    assert (foreign.status_code, foreign.json()["detail"]) == (403, "dev-1 may not speak for another device")
    assert (plain.records(), plain.letters()) == ([], [])


async def test_a_revoked_token_opens_nothing_any_more(plain):
    assert (await plain.client.post("/ingest/dev-1", json=READING)).status_code == 202
    plain.hear(Credential("dev-1.0123456789ab", "dev-1", "http", b"", 0))

    assert (await plain.client.post("/ingest/dev-1", json=READING)).status_code == 401


async def test_a_gateway_without_room_asks_for_a_later_try(plain, monkeypatch):
    monkeypatch.setattr(plain.store.room, "limit", 0)
    answer = await plain.client.post("/ingest/dev-1", json=READING)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    monkeypatch.setattr(plain.store.room, "limit", 100_000)
    monkeypatch.setattr(http, "SETTLED_WITHIN_S", 0.01)
    monkeypatch.setattr(plain.adapter._inbox, "put", lambda _: True)  # nobody ever takes it

    assert (await plain.client.post("/ingest/dev-1", json=READING)).status_code == 503


async def test_a_repeated_request_with_a_key_is_taken_once(plain):
    pack, media = '[{"n":"t","v":1,"t":-5}]', {"Content-Type": "application/senml+json", "Idempotency-Key": "a"}
    for _ in range(2):
        assert (await plain.client.post("/ingest/dev-1", content=pack, headers=media)).status_code == 202
    other = await plain.client.post("/ingest/dev-1", json=READING, headers={"Idempotency-Key": "a"})

    assert other.status_code == 202
    assert [one["values"] for one in plain.records()] == [{"t": 1}, {"t": 1}]  # of two messages


async def test_a_device_fetches_its_commands_and_tells_what_became_of_them(plain):
    assert (await plain.client.get("/command/dev-1")).json() == []
    asking = asyncio.create_task(plain.client.get("/command/dev-1", params={"wait": 20}))
    fields = {"type": "open", "parameters": {"by": 3}, "expires": NOW + 60_000}
    plain.hear({"kind": "command", "device": "dev-1", "id": "c1", **fields})

    assert (await asking).json() == [{"id": "c1", **fields}]
    result = {"id": "c1", "status": "succeeded", "result": {"open": True}}
    assert (await plain.client.post("/ingest/dev-1/command/result", json=result)).status_code == 202
    assert (await plain.client.get("/command/dev-1")).json() == []
    assert (await plain.client.get("/command/dev-2")).status_code == 403
    for wait in ("61", "-1", "x", "²", "9" * 5000):
        assert (await plain.client.get("/command/dev-1", params={"wait": wait})).status_code == 422


async def test_unknown_addresses_and_methods_are_problems_too(plain):
    for method, path, status in (("GET", "/ingest/dev-1", 405), ("POST", "/nowhere", 404)):
        answer = await plain.client.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
        assert answer.headers.get("allow") == ("POST" if status == 405 else None)


async def test_a_flood_of_one_device_is_slowed_down(tmp_path, authority):
    async with (
        served(tmp_path, authority, tls=False, requests_per_second=1) as bench,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{bench.port}", headers=TOKEN, timeout=WAIT_S) as client,
    ):
        answers = await asyncio.gather(*(client.post("/ingest/dev-1", json=READING) for _ in range(20)))

    assert 429 in [one.status_code for one in answers]
    assert all("retry-after" in one.headers for one in answers if one.status_code == 429)


async def test_over_tls_a_certificate_is_enough_until_it_is_revoked(tmp_path, authority):
    cert, key = authority.issue("dev-7")
    own = client_context(authority.ca, cert, key, ssl.TLSVersion.TLSv1_2)
    anonymous = client_context(authority.ca)
    async with served(tmp_path, authority) as bench:
        base = f"https://127.0.0.1:{bench.port}"
        async with httpx2.AsyncClient(base_url=base, verify=own) as client:
            assert (await client.post("/ingest/dev-7", json=READING)).status_code == 202
            assert (await client.post("/ingest/dev-8", json=READING)).status_code == 403
            revoking = authority.revoking(2, cert)
            files.write(bench.lists, revoking.public_bytes(Encoding.PEM))
            assert (await client.post("/ingest/dev-7", json=READING)).status_code == 401
        async with httpx2.AsyncClient(base_url=base, verify=anonymous) as client:
            assert (await client.post("/ingest/dev-7", json=READING)).status_code == 401
            assert (await client.post("/ingest/dev-1", json=READING, headers=TOKEN)).status_code == 202
            bench.lists.unlink()
        async with httpx2.AsyncClient(base_url=base, verify=own) as client:
            assert (await client.post("/ingest/dev-7", json=READING)).status_code == 401


async def test_a_taken_port_is_told_and_tried_again(tmp_path, authority, monkeypatch):
    monkeypatch.setattr(kept, "BACK_OFF_S", 0.05)
    async with served(tmp_path, authority, tls=False) as bench:
        second = HttpAdapter(
            HttpSettings(protocol="http", name="second", port=bench.port, tls=False), bench.site(authority)
        )
        one = kept.Kept("second", "http", second)
        groups = one.groups(10)
        waiting = asyncio.create_task(anext(groups))
        await until(lambda: one.error is not None)
        assert one.error.startswith(f"the adapter second can't listen on 127.0.0.1:{bench.port}")
        await bench.adapter.close()
        await until(lambda: one.is_connected)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting

    assert one.error is None


def test_plain_http_is_for_loopback_alone():
    with pytest.raises(ValueError, match="plain HTTP is served on loopback alone"):
        HttpSettings(protocol="http", host="0.0.0.0", port=80, tls=False)
