"""Certificates from CSRs, checked by openssl as any peer would. (P1, P2)"""

import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fieldloom_cli.identity import new_key_and_request
from fieldloom_cloud.pki.authority import Authority, new_request


@pytest.fixture
def issued(api, tmp_path):
    api.post("/api/v1/devices", json={"id": "cert-1"})
    key, csr = new_key_and_request("cert-1")
    answer = api.post("/api/v1/certificates", json={"csr": csr.decode()})
    assert answer.status_code == 201, answer.text
    (tmp_path / "cert.pem").write_text(answer.json()["certificate"])
    (tmp_path / "ca.pem").write_text(answer.json()["ca"])
    (tmp_path / "key.pem").write_bytes(key)
    return answer.json()


def openssl(folder, *arguments):
    return subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def test_openssl_verifies_an_issued_certificate(issued, tmp_path):
    assert "cert.pem: OK" in openssl(tmp_path, "verify", "-purpose", "sslclient", "-CAfile", "ca.pem", "cert.pem")
    public = openssl(tmp_path, "x509", "-in", "cert.pem", "-pubkey", "-noout")
    assert public == openssl(tmp_path, "pkey", "-in", "key.pem", "-pubout")


def test_an_issued_certificate_is_stored(api, issued):
    shown = api.get(f"/api/v1/certificates/{issued['serial']}").json()

    assert shown["subject"] == "cert-1"
    assert shown["certificate"] == issued["certificate"]
    assert issued["serial"] in [one["serial"] for one in api.get("/api/v1/certificates?subject=cert-1").json()["items"]]


@pytest.mark.parametrize(
    ("csr", "reason"),
    [
        (new_key_and_request("stranger")[1].decode(), "neither a device nor a gateway"),
        ("-----BEGIN CERTIFICATE REQUEST-----", "can't be read"),
        ("", "can't be read"),
    ],
)
def test_a_bad_request_is_refused_with_the_reason(api, csr, reason):
    answer = api.post("/api/v1/certificates", json={"csr": csr})

    assert answer.status_code == 422
    assert reason in answer.json()["errors"][0]["reason"]


def test_a_request_that_its_key_did_not_sign_is_refused(api):
    api.post("/api/v1/devices", json={"id": "forged-1"})
    pem = new_key_and_request("forged-1")[1]
    der = bytearray(x509.load_pem_x509_csr(pem).public_bytes(serialization.Encoding.DER))
    at = bytes(der).index(b"forged-1")
    der[at : at + 8] = b"forged-2"
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)

    answer = api.post("/api/v1/certificates", json={"csr": forged.decode()})

    assert "not signed by its own key" in answer.json()["errors"][0]["reason"]


def test_a_gateway_is_a_server_of_its_hosts_and_a_device_is_none(api, tmp_path):
    api.post("/api/v1/gateways", json={"id": "gw.pki"})
    api.post("/api/v1/devices", json={"id": "no-server"})
    hosts = {"hosts": ["127.0.0.1", "gw.local"]}
    as_gateway = api.post("/api/v1/certificates", json={"csr": new_key_and_request("gw.pki")[1].decode(), **hosts})
    as_device = api.post("/api/v1/certificates", json={"csr": new_key_and_request("no-server")[1].decode(), **hosts})

    assert as_device.status_code == 422
    (tmp_path / "cert.pem").write_text(as_gateway.json()["certificate"])
    (tmp_path / "ca.pem").write_text(as_gateway.json()["ca"])
    verify = ("verify", "-purpose", "sslserver", "-verify_ip", "127.0.0.1", "-CAfile", "ca.pem", "cert.pem")
    assert "cert.pem: OK" in openssl(tmp_path, *verify)
    # A board without a clock wakes in 2000 and has to believe its gateway.
    assert "notBefore=Jan  1 00:00:00 1999 GMT" in openssl(tmp_path, "x509", "-in", "cert.pem", "-noout", "-startdate")


def test_keys_are_their_owners_alone_and_creating_again_changes_nothing(tmp_path):
    first = Authority.create(tmp_path / "pki")
    ca = first.ca.read_bytes()

    again = Authority.create(tmp_path / "pki")

    assert again.ca.read_bytes() == ca
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "pki").glob("*.key")} == {0o600}
    key = ec.generate_private_key(ec.SECP256R1())
    assert again.issue(new_request("gw.x", key)).serial != again.issue(new_request("gw.x", key)).serial
