"""The audit log of a running cloud: over EST, by the command at the data folder, read and verified by the command. (A2)

The same cloud was made by an older version, so its broker's rights are renewed when it starts. (P5)
"""

import contextlib
import json
import os
import pwd
import sqlite3
import ssl

import aiomqtt
import httpx2
import pytest

import fieldloom_cli.api
from cloud.conftest import Cloud
from fieldloom_cli.errors import CommandFailed
from fieldloom_cli.identity import new_key_and_request, write
from fieldloom_contract import topics
from fieldloom_runtime.tls import client_context
from fixtures.commands import fieldloom
from fixtures.processes import mosquitto, wait_for_port
from fixtures.raw_mqtt import answers_of

OLD_RIGHTS = "pattern write fl/v1/g/%u/up/+\n\nuser svc.cloud\ntopic readwrite fl/v1/g/#\n"
NOT_AUTHORIZED = 135


class Upgraded(Cloud):
    """A cloud whose broker runs and has the rights of an older version."""

    def __init__(self, folder):
        super().__init__(folder)
        self.rights = self.data / "broker" / "rights.acl"
        self.rights.write_text(OLD_RIGHTS)
        self.broker = mosquitto(self.data / "broker" / "mosquitto.conf", folder / "broker.log").start()
        wait_for_port(self.mqtt_port)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    cloud = Upgraded(tmp_path_factory.mktemp("cloud"))
    try:
        yield cloud.start()
    finally:
        cloud.process.stop()
        cloud.broker.stop()


@pytest.fixture
def command(cloud, monkeypatch, capsys):
    """Run a command against the cloud, and return what it prints."""
    monkeypatch.setenv("FIELDLOOM_API", f"http://127.0.0.1:{cloud.port}")
    monkeypatch.setenv("FIELDLOOM_TOKEN", cloud.token)

    def run(*arguments):
        capsys.readouterr()
        with cloud.client(cloud.token) as api, monkeypatch.context() as patched:
            api.base_url = f"http://127.0.0.1:{cloud.port}/api/v1"
            patched.setattr(fieldloom_cli.api.httpx2, "Client", lambda **_: api)
            fieldloom(*arguments)
        return capsys.readouterr().out

    return run


def listed(command, *options):
    return json.loads(command("audit", "list", *options, "--json"))["items"]


def enrol(cloud, name, claim):
    """Enrol over EST with a claim, and return the status."""
    request = b"".join(new_key_and_request(name)[1].splitlines()[1:-1])
    trust = ssl.create_default_context(cafile=cloud.data / "pki" / "ca.pem")
    with httpx2.Client(verify=trust, auth=(name, claim), timeout=20) as client:
        url = f"https://127.0.0.1:{cloud.est_port}/.well-known/est/simpleenroll"
        return client.post(url, content=request, headers={"Content-Type": "application/pkcs10"}).status_code


def test_who_enrols_over_est_and_who_may_not_are_told(cloud, api, command):
    api.post("/api/v1/devices", json={"id": "est-1"}).raise_for_status()
    claim = api.post("/api/v1/claims", json={"id": "est-1"}).json()["claim"]

    assert [enrol(cloud, "est-1", guess) for guess in ("guessed", "again", claim)] == [401, 401, 200]
    issued, claimed, registered = listed(command, "--object", "est-1")
    assert [row["action"] for row in (issued, claimed, registered)] == ["simpleenroll", "add_claim", "add_device"]
    assert issued["actor"] == {"kind": "est", "id": "est-1", "name": ""}
    assert (issued["kind"], issued["route"]) == ("certificate", "/.well-known/est/simpleenroll")
    assert registered["actor"]["name"] == "first admin"
    assert registered["address"] == issued["address"] == "127.0.0.1"
    with cloud.client() as nobody:
        assert nobody.get("/api/v1/audit").status_code == 401
        assert 'fieldloom_cloud_requests_refused_total{status="401"} 3.0' in nobody.get("/metrics").text


def test_what_the_command_did_at_the_data_folder_is_told_with_its_user(cloud, command):
    fieldloom("cloud", "login-link", "--data", cloud.data)

    user = pwd.getpwuid(os.geteuid()).pw_name
    link, token, site = listed(command, "--actor", user)
    assert [(row["action"], row["kind"]) for row in (link, token, site)] == [
        ("login-link", "login_link"),
        ("init", "token"),
        ("init", "site"),
    ]
    assert {row["actor"]["kind"] for row in (link, token, site)} == {"command"}


def test_the_command_shows_a_table_and_verifies_the_chain(cloud, api, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    api.post("/api/v1/devices", json={"id": "line-1", "name": "North"}).raise_for_status()
    api.patch("/api/v1/devices/line-1", json={"name": "South"}).raise_for_status()
    command("device", "remove", "line-1")

    assert "name: North → South" in " ".join(command("audit", "list", "--object", "line-1").split())
    newest = listed(command, "--limit", "1")[0]
    assert (newest["action"], newest["object"]) == ("remove_device", "line-1")
    assert f"Rows 1 to {newest['number']} are as they were written; the newest is {newest['sha256']}." in command(
        "audit", "verify"
    )
    with contextlib.closing(sqlite3.connect(cloud.data / "cloud.db", timeout=20)) as sql, sql:
        sql.execute("DELETE FROM audit WHERE number = 3")
    with pytest.raises(CommandFailed, match="not as it was written"):
        command("audit", "verify", "--json")
    assert api.get("/api/v1/audit/verification").json()["faults"] == ["row 3 is missing"]


async def test_an_older_version_s_rights_at_the_broker_are_renewed_at_the_start(cloud, api, capsys):
    asked = topics.gateway("gw.renewed", topics.RELEASE_REQUEST)
    api.post("/api/v1/gateways", json={"id": "gw.renewed"}).raise_for_status()
    key, csr = new_key_and_request("gw.renewed")
    made = api.post("/api/v1/certificates", json={"csr": csr.decode()}).json()
    files = write(cloud.folder / "gw.renewed", key, made["certificate"], made["ca"])
    tls = client_context(files["ca"], files["cert"], files["key"])

    assert cloud.rights.read_text() != OLD_RIGHTS
    gateway = aiomqtt.Client(
        "127.0.0.1", cloud.mqtt_port, identifier="gw.renewed", tls_context=tls, protocol=aiomqtt.ProtocolVersion.V5
    )
    async with gateway:
        codes = answers_of(gateway)
        await gateway.publish(asked, b"?", qos=1)
    assert codes != [NOT_AUTHORIZED]

    cloud.rights.write_text(OLD_RIGHTS)
    for told in ("The broker's rights were written anew.\n", ""):
        capsys.readouterr()
        fieldloom("cloud", "migrate", "--data", cloud.data)
        assert capsys.readouterr().out == told
    assert cloud.rights.read_text() != OLD_RIGHTS


def test_what_was_refused_is_written_down_at_the_latest_when_the_cloud_stops(cloud, api):
    assert api.delete("/api/v1/devices/nobody").status_code == 404

    cloud.process.stop()

    with contextlib.closing(sqlite3.connect(cloud.data / "cloud.db")) as sql:
        columns = "actor_kind, object, status, count"
        refused = sql.execute(f"SELECT {columns} FROM audit WHERE outcome = 'refused'").fetchall()
    assert sorted(refused) == [("nobody", "", 401, 3), ("token", "nobody", 404, 1)]
