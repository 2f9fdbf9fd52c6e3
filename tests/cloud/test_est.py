"""Enrolment as RFC 7030 has it, by the command lines of openssl and curl; every refusal says why. (P2, P4)"""

import base64
import json
import os
import subprocess

import pytest
from cryptography import x509

from fieldloom_cloud.enrolment.est import FAILURES, FAILURES_S, Failures
from fieldloom_cloud.errors import TooManyRequests
from fixtures.certificates import TestAuthority
from fixtures.processes import FIELDLOOM


def run(folder, *command, env=None):
    command = [str(part) for part in command]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=True).stdout


class Desk:
    """A folder in which somebody enrols, with nothing but a shell."""

    def __init__(self, cloud, folder):
        self.cloud = cloud
        self.folder = folder
        self.url = f"https://127.0.0.1:{cloud.est_port}/.well-known/est"
        (folder / "ca.pem").write_bytes((cloud.data / "pki" / "ca.pem").read_bytes())

    def request(self, name, *kind):
        """A new key, and a PKCS#10 request in base64, by openssl."""
        algorithm = kind or ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
        run(
            self.folder, "openssl", "req", "-new", *algorithm, "-nodes", "-keyout", "key.pem", "-subj", f"/CN={name}",
            "-outform", "DER", "-out", "csr.der",
        )  # fmt: skip
        run(self.folder, "openssl", "base64", "-in", "csr.der", "-out", "csr.b64")

    def post(self, verb, *options):
        """Send csr.b64 by curl, and return the status; the answer is in answer.b64."""
        return run(
            self.folder, "curl", "-sS", "--cacert", "ca.pem", "-o", "answer.b64", "-w", "%{http_code} %{content_type}",
            "-H", "Content-Type: application/pkcs10", "--data-binary", "@csr.b64", *options, f"{self.url}/{verb}",
        )  # fmt: skip

    def enrol(self, name, claim, *kind):
        self.request(name, *kind)
        return self.post("simpleenroll", "--user", f"{name}:{claim}")

    def said(self):
        return (self.folder / "answer.b64").read_text()

    def keep(self, path="cert.pem"):
        """Take the certificates out of an answer by openssl, and return the first one's text."""
        run(self.folder, "openssl", "base64", "-d", "-in", "answer.b64", "-out", "answer.p7")
        run(self.folder, "openssl", "pkcs7", "-inform", "DER", "-in", "answer.p7", "-print_certs", "-out", path)
        return run(self.folder, "openssl", "x509", "-in", path, "-noout", "-subject", "-pubkey")


@pytest.fixture
def desk(cloud, tmp_path):
    return Desk(cloud, tmp_path)


def claim_of(api, name, **options):
    kind = "gateways" if "." in name else "devices"
    api.post(f"/api/v1/{kind}", json={"id": name})
    answer = api.post("/api/v1/claims", json={"id": name, **options})
    assert answer.status_code == 201, answer.text
    return answer.json()["claim"]


def test_everybody_gets_the_ca_s_certificates(desk):
    run(desk.folder, "curl", "-sS", "--cacert", "ca.pem", "-o", "answer.b64", f"{desk.url}/cacerts")

    desk.keep("got.pem")

    got, known = (x509.load_pem_x509_certificates((desk.folder / name).read_bytes()) for name in ("got.pem", "ca.pem"))
    assert set(got) == set(known)


def test_a_claim_brings_a_certificate_for_the_key_that_never_left(api, desk):
    told = desk.enrol("pump-1", claim_of(api, "pump-1"))

    assert told.startswith("200 application/pkcs7-mime")
    assert "CN = pump-1" in desk.keep()
    assert desk.keep().endswith(run(desk.folder, "openssl", "pkey", "-in", "key.pem", "-pubout"))
    verify = ("openssl", "verify", "-purpose", "sslclient", "-CAfile", "ca.pem", "cert.pem")
    assert "cert.pem: OK" in run(desk.folder, *verify)
    assert [one["subject"] for one in api.get("/api/v1/certificates?subject=pump-1").json()["items"]] == ["pump-1"]


def test_a_claim_is_good_once(api, desk):
    claim = claim_of(api, "pump-2")
    assert desk.enrol("pump-2", claim).startswith("200")

    told = desk.enrol("pump-2", claim)

    assert told.startswith("401 text/plain")
    assert "was used at" in desk.said()


def test_a_newer_claim_makes_an_older_one_void_and_a_refused_request_none(api, desk):
    old, new = claim_of(api, "pump-3"), claim_of(api, "pump-3")

    assert desk.enrol("pump-3", old).startswith("401")
    assert desk.enrol("pump-3", new, "-newkey", "rsa:1024").startswith("400")
    assert desk.enrol("pump-3", new).startswith("200")


@pytest.mark.parametrize(
    ("subject", "kind", "reason"),
    [
        ("pump-5", (), "the request is for pump-5, not for pump-4"),
        ("pump-4", ("-newkey", "rsa:1024"), "an RSA key must have 2048 to 8192 bits, not 1024"),
        ("pump-4", ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp224r1"), "P-256, P-384 or P-521"),
        ("pump-4", ("-newkey", "ed25519"), "must be EC or RSA"),
    ],
)
def test_a_request_that_does_not_do_is_refused_with_the_reason(api, desk, subject, kind, reason):
    claim = claim_of(api, "pump-4")
    desk.request(subject, *kind)

    told = desk.post("simpleenroll", "--user", f"pump-4:{claim}")

    assert told.startswith("400 text/plain"), desk.said()
    assert reason in desk.said()


@pytest.mark.parametrize("body", ["", "no base64!", base64.b64encode(b"no request").decode()])
def test_what_is_no_request_is_refused(api, desk, body):
    claim = claim_of(api, "pump-6")
    (desk.folder / "csr.b64").write_text(body)

    assert desk.post("simpleenroll", "--user", f"pump-6:{claim}").startswith("400")
    assert "DER in base64 (RFC 7030, 4.2.1)" in desk.said()


def test_a_request_that_another_key_signed_is_refused(api, desk):
    claim = claim_of(api, "forged-1")
    desk.request("forged-1")
    der = bytearray((desk.folder / "csr.der").read_bytes())
    at = bytes(der).index(b"forged-1")
    der[at : at + 8] = b"forged-2"
    (desk.folder / "csr.b64").write_bytes(base64.encodebytes(bytes(der)))

    assert desk.post("simpleenroll", "--user", f"forged-1:{claim}").startswith("400")
    assert "not signed by its own key" in desk.said()


def test_a_certificate_brings_the_next_one_and_the_old_one_goes_on(api, desk):
    desk.enrol("pump-7", claim_of(api, "pump-7"))
    desk.keep("old.pem")
    (desk.folder / "key.pem").rename(desk.folder / "old.key")
    old = ("--cert", "old.pem", "--key", "old.key")

    for _ in range(2):
        desk.request("pump-7")
        assert desk.post("simplereenroll", *old).startswith("200"), desk.said()
        assert "CN = pump-7" in desk.keep()

    assert len(api.get("/api/v1/certificates?subject=pump-7").json()["items"]) == 3


def test_the_next_certificate_is_nobody_else_s_and_not_a_revoked_one_s(api, desk):
    desk.enrol("pump-8", claim_of(api, "pump-8"))
    desk.keep("old.pem")
    (desk.folder / "key.pem").rename(desk.folder / "old.key")
    old = ("--cert", "old.pem", "--key", "old.key")

    desk.request("pump-7")
    assert desk.post("simplereenroll", *old).startswith("400")
    assert "for pump-7, not for pump-8" in desk.said()

    serial = api.get("/api/v1/certificates?subject=pump-8").json()["items"][0]["serial"]
    api.post(f"/api/v1/certificates/{serial}/revoke", json={"reason": "key_compromise"})
    desk.request("pump-8")
    assert desk.post("simplereenroll", *old).startswith("403")
    assert "was revoked (key_compromise)" in desk.said()


def test_without_a_certificate_or_with_a_stranger_s_there_is_no_next_one(desk, tmp_path):
    desk.request("pump-7")

    assert desk.post("simplereenroll").startswith("401")
    assert "show the present certificate" in desk.said()
    cert, key = TestAuthority(tmp_path / "stranger").issue("pump-7")
    ended = subprocess.run(
        ["curl", "-sS", "--cacert", "ca.pem", "--cert", cert, "--key", key, "-d", "x", f"{desk.url}/simplereenroll"],
        cwd=desk.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode != 0, "the handshake ends it"


def test_a_gateway_is_a_server_of_the_hosts_that_its_claim_names(api, desk):
    claim = claim_of(api, "gw.est", hosts=["127.0.0.1", "gw.local"])
    assert desk.enrol("gw.est", claim).startswith("200"), desk.said()
    desk.keep()

    verify = ("openssl", "verify", "-purpose", "sslserver", "-verify_ip", "127.0.0.1", "-CAfile", "ca.pem", "cert.pem")
    assert "cert.pem: OK" in run(desk.folder, *verify)
    api.post("/api/v1/devices", json={"id": "no-server"})
    assert api.post("/api/v1/claims", json={"id": "no-server", "hosts": ["x"]}).status_code == 422
    assert api.post("/api/v1/claims", json={"id": "nobody"}).status_code == 422


def test_the_command_makes_a_claim_and_only_its_hash_is_kept(api, cloud, desk):
    api.post("/api/v1/devices", json={"id": "pump-9"})
    told = os.environ | {"FIELDLOOM_API": f"http://127.0.0.1:{cloud.port}", "FIELDLOOM_TOKEN": cloud.token}

    made = json.loads(run(desk.folder, FIELDLOOM, "device", "claim", "pump-9", "--hours", 2, "--json", env=told))

    assert made["claim"].encode() not in cloud.stored()
    assert desk.enrol("pump-9", made["claim"]).startswith("200")


def test_wrong_claims_are_all_answered_alike_and_after_ten_of_them_it_waits(api, desk):
    claim = claim_of(api, "pump-10")

    wrong = [desk.enrol(name, "guessed") and desk.said() for name in ("pump-10", "nobody", "pump-7")]
    for _ in range(FAILURES):
        desk.post("simpleenroll", "--user", "pump-10:guessed")

    assert set(wrong) == {"no such device, or not its claim\n"}
    assert desk.enrol("pump-10", claim).startswith("429")
    assert "wait" in desk.said()


def test_an_address_may_try_again_after_a_minute():
    now = 0.0
    failures = Failures(lambda: now)
    for _ in range(FAILURES):
        failures.refuse("10.0.0.1")
        failures.add("10.0.0.1")

    with pytest.raises(TooManyRequests):
        failures.refuse("10.0.0.1")
    failures.refuse("10.0.0.2")
    now = FAILURES_S
    failures.refuse("10.0.0.1")
