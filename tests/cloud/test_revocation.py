"""The list of revoked certificates, read by openssl; keys that come back; the list's way down in parts. (P2, P3)"""

import datetime
import subprocess

import pytest
from cryptography import x509

from fieldloom_cli.identity import new_key_and_request
from fieldloom_cloud.pki.authority import Authority, Revoked
from fieldloom_cloud.revocation.service import PART_NAMES, parts_of
from fieldloom_gateway.ingest.database import open_database
from fieldloom_gateway.ingest.revocations import Revocations
from fieldloom_runtime import down

NOW = datetime.datetime(2026, 11, 26, tzinfo=datetime.UTC)


@pytest.fixture
def device(api, request):
    name = request.node.name[-40:].replace("[", "-").replace("]", "")
    api.post("/api/v1/devices", json={"id": name}).raise_for_status()
    return name


def issue(api, csr, **allowed):
    return api.post("/api/v1/certificates", json={"csr": csr.decode(), **allowed})


def revoke(api, serial, reason="key_compromise"):
    return api.post(f"/api/v1/certificates/{serial}/revoke", json={"reason": reason})


def test_openssl_refuses_what_is_on_the_list_and_takes_what_is_not(api, cloud, device, tmp_path):
    stays = issue(api, new_key_and_request(device)[1]).json()
    goes = issue(api, new_key_and_request(device)[1]).json()

    revoked = revoke(api, goes["serial"])

    assert revoked.status_code == 200
    assert revoked.json()["reason"] == "key_compromise"
    with cloud.client() as nobody:
        crl = nobody.get("/crl.pem").text
    (tmp_path / "trust.pem").write_text(goes["ca"] + crl)
    (tmp_path / "stays.pem").write_text(stays["certificate"])
    (tmp_path / "goes.pem").write_text(goes["certificate"])
    verify = ["openssl", "verify", "-crl_check", "-CAfile", "trust.pem"]
    told = {
        name: subprocess.run([*verify, f"{name}.pem"], cwd=tmp_path, capture_output=True, text=True, check=False)
        for name in ("stays", "goes")
    }
    assert told["stays"].returncode == 0, told["stays"].stderr
    assert "certificate revoked" in told["goes"].stderr
    shown = subprocess.run(["openssl", "crl", "-text", "-noout"], input=crl, capture_output=True, text=True, check=True)
    assert "Key Compromise" in shown.stdout


def test_two_lists_of_one_second_differ_in_their_dates_and_none_is_from_the_future(api, device):
    lists = []
    for _ in range(2):
        serial = issue(api, new_key_and_request(device)[1]).json()["serial"]
        revoke(api, serial)
        lists.append(x509.load_pem_x509_crl(api.get("/crl.pem").content))

    first, second = lists
    assert second.last_update_utc - first.last_update_utc >= datetime.timedelta(seconds=1)
    assert second.last_update_utc.year == 1999
    assert second.next_update_utc.year == 2074


def test_revoking_again_changes_nothing_and_what_is_not_there_is_said(api, device):
    serial = issue(api, new_key_and_request(device)[1]).json()["serial"]
    first = revoke(api, serial).json()
    crl = api.get("/crl.pem").text

    again = revoke(api, serial, "superseded")

    assert again.json() == first
    assert api.get("/crl.pem").text == crl
    assert revoke(api, "beef").status_code == 404
    assert "reason" in revoke(api, serial, "boredom").json()["errors"][0]["path"]


def test_a_revoked_key_comes_back_only_if_the_operator_says_so(api, device):
    _, csr = new_key_and_request(device)
    revoke(api, issue(api, csr).json()["serial"])

    refused = issue(api, csr)

    assert refused.status_code == 422
    assert "was revoked (key_compromise): make a new key" in refused.json()["errors"][0]["reason"]
    assert issue(api, csr, allow_revoked_key=True).status_code == 201


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A list of 1,500 certificates, as PEM, and the one before it."""
    authority = Authority.create(tmp_path_factory.mktemp("pki"))
    entries = [Revoked(f"{x509.random_serial_number():x}", NOW, "superseded") for _ in range(1500)]
    return authority.sign_list(7, entries[:-1]), authority.sign_list(8, entries)


@pytest.fixture
def revocations(tmp_path):
    connection = open_database(tmp_path)
    yield Revocations(connection)
    connection.close()


def test_a_large_list_comes_in_parts_that_fit_and_counts_when_it_is_whole(large, revocations):
    names = [f"dev-{number}" for number in range(PART_NAMES + 1)]
    parts = [down.decode(down.encode(part)) for part in parts_of(large[1], ["gw.site1"], names)]
    assert len(parts) > 1
    assert max(len(down.encode(part)) for part in parts) < 64 * 1024

    for part in parts[:-1]:
        revocations.take(part)
    assert revocations.due() == (None, [])
    revocations.take(parts[-1])

    due = revocations.due()
    assert x509.load_der_x509_crl(due.crl) == x509.load_pem_x509_crl(large[1].encode())
    assert {one.identity: one.hold for one in due.expelled} == {"gw.site1": False, **dict.fromkeys(names, True)}


def test_an_older_list_changes_nothing_and_half_of_one_leaves_nothing(large, revocations):
    older, newer = (parts_of(pem, [], []) for pem in large)
    revocations.take(older[0])

    for part in (*newer, *older):
        revocations.take(part)

    crl = x509.load_der_x509_crl(revocations.due().crl)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 8


def test_who_is_revoked_again_while_he_is_shown_out_is_not_forgotten(large, revocations):
    first, second = (parts_of(pem, [], ["dev-1"]) for pem in large)
    for part in first:
        revocations.take(part)
    (leaving,) = revocations.due().expelled

    for part in second:
        revocations.take(part)
    revocations.done(leaving)

    assert [(one.identity, one.number) for one in revocations.due().expelled] == [("dev-1", 8)]
