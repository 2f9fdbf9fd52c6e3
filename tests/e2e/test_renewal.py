"""Boards renew their certificates over the connection that they have. (P2, P4)"""

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import time

import aiomqtt
import pytest
from cryptography import x509

from e2e.renewing import DER, PEM, flash, put_on_trial, renewed, shorten
from e2e.test_boards import execute, wait_for
from fieldloom_cli.identity import new_key_and_request
from fieldloom_contract import renewal, topics
from fixtures.certificates import TestAuthority
from fixtures.processes import wait_for_port


@pytest.fixture
def system(shared_system):
    return shared_system


@pytest.fixture
def fleet(shared_fleet):
    return shared_fleet


def events(system, board, kind):
    with system.api() as api:
        return api.get("/api/v1/events", params={"device": board, "type": kind}).json()["items"]


def acknowledged(fleet, board):
    return max(fleet.acknowledged(board).values(), default=0)


def test_a_board_renews_by_itself_and_reports_on_when_the_old_certificate_has_ended(system, fleet, tmp_path):
    identity = shorten(system, system.enrol_device("board-1"), seconds=15)
    ends = time.monotonic() + 15
    fleet.add(identity, system.gateways[:1], interval=200)

    wait_for(lambda: events(system, "board-1", "certificate.renewed"), 20, "a renewal")
    time.sleep(max(0, ends + 1 - time.monotonic()))
    broker = system.processes["gateway-1-broker"]
    broker.kill()
    broker.start()
    wait_for_port(system.mqtt_port)
    before = acknowledged(fleet, "board-1")
    wait_for(lambda: acknowledged(fleet, "board-1") > before + 5, 30, "records with the new certificate")
    fleet.reset("board-1")
    wait_for(lambda: len(fleet.acknowledged("board-1")) == 2, 30, "records after a start with the new certificate")
    fleet.off("board-1")

    files = flash(fleet, "board-1")
    certificate, key = renewed(files)
    assert not {"/cert/next", "/cert/request", "/cert/key.der"} & files.keys()
    assert key.public_key() == certificate.public_key()
    with system.api() as api:
        issued = api.get("/api/v1/certificates", params={"subject": "board-1"}).json()["items"]
    assert [one["serial"] for one in issued].count(f"{certificate.serial_number:x}") == 1
    pem = tmp_path / "renewed.pem"
    pem.write_bytes(certificate.public_bytes(PEM))
    verify = ["openssl", "verify", "-CAfile", system.cloud.data / "pki" / "ca.pem", pem]
    assert subprocess.run(verify, capture_output=True, check=True, text=True).stdout.endswith(": OK\n")
    subject = subprocess.run(
        ["openssl", "x509", "-noout", "-subject", "-in", pem], capture_output=True, check=True, text=True
    )
    assert subject.stdout.strip() == "subject=CN = board-1"


def asked(system, board):
    """How often a board's request stands in the gateway's outbox."""
    with contextlib.closing(sqlite3.connect(system.folder / "gateway-1" / "gateway.db")) as connection:
        bodies = connection.execute("SELECT body FROM outbox").fetchall()
    lines = [json.loads(line) for (body,) in bodies for line in body.splitlines()]
    return sum(line["kind"] == "certificate_request" and line["device"] == board for line in lines)


def test_a_renewal_waits_for_a_cloud_that_is_away_and_survives_kills(system, fleet):
    identity = shorten(system, system.enrol_device("board-2"), seconds=600)
    system.processes["cloud"].kill()
    fleet.add(identity, system.gateways[:1], interval=200)
    wait_for(lambda: asked(system, "board-2") > 1, 40, "the request, and again without an answer")

    system.processes["gateway-1"].kill()
    fleet.off("board-2")
    fleet.on("board-2")
    system.processes["gateway-1"].start()
    system.processes["cloud"].start()
    wait_for_port(system.cloud.port)

    wait_for(lambda: events(system, "board-2", "certificate.renewed"), 120, "the renewal")
    with system.api() as api:
        issued = api.get("/api/v1/certificates", params={"subject": "board-2"}).json()["items"]
    assert len(issued) == 2  # at the enrolment, and once for the request that came several times


def test_a_command_renews_and_a_certificate_that_no_gateway_takes_is_given_up(system, fleet, tmp_path):
    identity = system.enrol_device("board-3")
    fleet.add(identity, system.gateways[:1], interval=200)
    wait_for(lambda: acknowledged(fleet, "board-3") > 3, 30, "records")
    with system.api() as api:
        told = execute(api, "board-3", "renew", seconds=90)
    assert told["status"] == "succeeded"
    fleet.off("board-3")
    mine, _ = renewed(flash(fleet, "board-3"))
    assert told["result"] == {"not_after": int(mine.not_valid_after_utc.timestamp()) * 1000}

    cert, key = TestAuthority(tmp_path / "stranger").issue("board-3")
    put_on_trial(fleet, "board-3", cert, key)
    fleet.on("board-3")

    refused = wait_for(lambda: events(system, "board-3", "certificate.refused"), 40, "the old certificate's return")
    assert refused[0]["data"] == {"reason": "no gateway takes the new certificate"}
    fleet.off("board-3")
    assert "/cert/next" not in flash(fleet, "board-3")
    assert renewed(flash(fleet, "board-3"))[0] == mine


@pytest.mark.parametrize(
    ("subject", "spoil", "reason"),
    [
        ("board-1", False, "the request is for board-1, not for board-4"),
        ("board-4", True, "the request is not signed by its own key"),
    ],
)
async def test_a_request_for_another_or_not_signed_by_its_key_is_refused_and_kept(system, subject, spoil, reason):
    enrol_once(system, "board-4")
    _, pem = new_key_and_request(subject)
    csr = bytearray(x509.load_pem_x509_csr(pem).public_bytes(DER))
    csr[-1] ^= spoil

    context = system.tls("board-4")
    async with aiomqtt.Client("127.0.0.1", system.mqtt_port, identifier="board-4", tls_context=context) as client:
        await client.subscribe(topics.device("board-4", topics.CERTIFICATE))
        await client.publish(topics.device("board-4", topics.CERTIFICATE_REQUEST), renewal.request(bytes(csr)))
        async with asyncio.timeout(20):
            answer = renewal.parse_answer((await anext(client.messages)).payload)

    assert answer == {"request": renewal.fingerprint(bytes(csr)), "certificate": None, "error": reason}
    with system.api() as api:
        letters = api.get("/api/v1/dead-letters", params={"device": "board-4"}).json()["items"]
    assert letters[0]["reason"] == reason
    assert letters[0]["record"]["was"]["kind"] == "certificate_request"


def enrol_once(system, device):
    if not (system.folder / device).exists():
        system.enrol_device(device)
