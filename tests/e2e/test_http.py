"""Devices that speak HTTP, as curl does: from an issued credential to the cloud's store, once. (C5, C6, P8, T4, T5)"""

import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fixtures.commands import fieldloom
from fixtures.processes import wait_for_port, wait_until_ready

WAIT_S = 60
REVOKED_WITHIN_S = 5
KEPT = 24


@pytest.fixture
def site(shared_system):
    return Site(shared_system)


class Site:
    """The first gateway of a system, asked by curl."""

    def __init__(self, system):
        self.system = system
        self.url = f"https://127.0.0.1:{system.http_ports[0]}"
        self.ca = system.folder / "gw.site1" / "ca.pem"

    def issue(self, device, **fields):
        with self.system.api() as api:
            api.post("/api/v1/devices", json={"id": device})
            issued = api.post("/api/v1/credentials", json={"device": device, "kind": "http", **fields})
            assert issued.status_code == 201, issued.text
        return issued.json()

    def revoke(self, credential):
        with self.system.api() as api:
            api.post(f"/api/v1/credentials/{credential['id']}/revoke", json={}).raise_for_status()

    def curl(self, path, body, *options, token=None, media="application/json"):
        """Return the status that curl got, and the answer's body; 0 where nobody answered."""
        command = ["curl", "-sS", "-w", "\n%{http_code}", "--cacert", self.ca, self.url + path, "--data-binary", body]
        command += ["-H", f"Content-Type: {media}", *options]
        if token:
            command += ["-H", f"Authorization: Bearer {token}"]
        command = list(map(str, command))
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
        told, _, status = done.stdout.rpartition("\n")
        return int(status or 0), told

    def until(self, status, *request, **options):
        """Ask until an answer has a status; return how long that took."""
        start = time.monotonic()
        while (answer := self.curl(*request, **options))[0] != status:
            assert time.monotonic() < start + WAIT_S, answer
            time.sleep(0.05)
        return time.monotonic() - start

    def stored(self, device, count):
        """The values of a device in the cloud, as soon as there are so many."""
        deadline = time.monotonic() + WAIT_S
        while len(values := self.system.stored(device)) < count and time.monotonic() < deadline:
            time.sleep(0.1)
        return values


def reading(number):
    return json.dumps({"values": {"t": number}})


def test_a_credential_opens_the_way_to_the_cloud_for_its_device_alone_until_it_is_revoked(site):
    first = site.issue("meter-1")
    site.until(202, "/ingest/meter-1", reading(1), token=first["secret"])
    now = time.time()
    pack = json.dumps([{"bn": "urn:dev:mac:1:", "n": "t", "bt": now, "v": 2}, {"n": "t", "t": -60, "v": 3}])
    assert site.curl("/ingest/meter-1", pack, token=first["secret"], media="application/senml+json")[0] == 202
    numbered = json.dumps([{"boot": 3, "seq": 1, "ts": int(now * 1000) + 1, "values": {"t": 4}}])
    for _ in range(2):
        assert site.curl("/ingest/meter-1", numbered, token=first["secret"])[0] == 202
    for _ in range(2):
        assert site.curl("/ingest/meter-1", reading(5), "-H", "Idempotency-Key: a", token=first["secret"])[0] == 202

    assert site.curl("/ingest/meter-1", reading(66), token="fld_guessed")[0] == 401
    assert site.curl("/ingest/meter-1", reading(66))[0] == 401
    assert site.curl("/ingest/meter-2", reading(66), token=first["secret"])[0] == 403
    status, told = site.curl("/ingest/meter-1", '{"values":{"t":[]}}', token=first["secret"])
    assert (status, json.loads(told)["errors"][0]["path"]) == (422, "values.t")

    second = site.issue("meter-1")
    site.until(202, "/ingest/meter-1", reading(6), token=second["secret"])
    assert site.curl("/ingest/meter-1", reading(7), token=first["secret"])[0] == 202  # the overlap
    site.revoke(first)
    assert site.until(401, "/ingest/meter-1", "{}", token=first["secret"]) < REVOKED_WITHIN_S
    assert site.curl("/ingest/meter-1", reading(8), token=second["secret"])[0] == 202

    assert sorted(site.stored("meter-1", 8)) == [1, 2, 3, 4, 5, 6, 7, 8]
    with site.system.api() as api:
        letters = api.get("/api/v1/dead-letters", params={"device": "meter-1"}).json()["items"]
    assert any(one["reason"].startswith("values.t") for one in letters)


def test_without_the_cloud_it_goes_on_and_a_killed_gateway_loses_nothing_that_it_answered(site):
    credential = site.issue("meter-3")
    site.until(202, "/ingest/meter-3", reading(0), token=credential["secret"])
    cloud, gateway = (site.system.processes[name] for name in ("cloud", "gateway-1"))
    cloud.kill()

    def post(number):
        """Post until it is answered, as a device does; the key makes it the same message each time."""
        key = ("-H", f"Idempotency-Key: {number}")
        deadline = time.monotonic() + WAIT_S
        while site.curl("/ingest/meter-3", reading(number), *key, token=credential["secret"])[0] != 202:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    with ThreadPoolExecutor(4) as devices:
        answers = [devices.submit(post, number) for number in range(1, KEPT + 1)]
        answers[KEPT // 3].result()
        gateway.kill()
        gateway.start()
        for answer in answers:
            answer.result()
    cloud.start()
    wait_for_port(site.system.cloud.port)
    wait_until_ready(int(site.system.status_pages[0].split(":")[2].split("/")[0]))

    assert sorted(site.stored("meter-3", KEPT + 1)) == list(range(KEPT + 1))


def test_a_gateway_tells_of_its_adapters(site, capsys):
    data = site.system.folder / "gateway-1"
    fieldloom("gateway", "adapters", "--data", data, "--json")
    told = json.loads(capsys.readouterr().out)["items"]
    assert [(one["name"], one["protocol"], one["connected"], one["error"]) for one in told] == [
        ("broker", "mqtt", True, None),
        ("http", "http", True, None),
        ("coap", "coap", True, None),
    ]
    assert set(told[1]["metrics"]) >= {"messages_received", "bytes_received", "acks", "errors", "reconnects"}
    fieldloom("gateway", "check", "--data", data)
    assert capsys.readouterr().out.split() == ["broker", "mqtt", "http", "http", "coap", "coap"]
