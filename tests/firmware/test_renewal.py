"""A board's own signatures and its change of identity, on the real VM: vectors, and power cuts at every write. (P4)"""

import binascii
import json

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from firmware.vm import run
from fixtures.certificates import TestAuthority

DER = serialization.Encoding.DER
SEC1 = serialization.PrivateFormat.TraditionalOpenSSL
# RFC 6979, A.2.5: the public key, and r and s of "sample" and of "test".
RFC_6979 = [
    "04",
    "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
    "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716",
    "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
    "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367",
    "19f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
]
IMPORTS = """
import asyncio
from binascii import hexlify, unhexlify
from fieldloom_agent import der, endings, identity, journal, p256, renewal, rtc
from fieldloom_contract import renewal as wire
from fieldloom_contract.errors import Rejected
class Machine:
    class RTC:
        def datetime(self, parts): pass
sys.modules["machine"] = Machine
class Connection:
    told = []
    def be(self, context): pass
    def tell(self, verb, payload): Connection.told.append(payload)
class Clock:
    def now(self): return 1800000000000
class Settings:
    device, release = "board-1", {"built": 0}
class Board:
    settings, connection, clock = Settings, Connection(), Clock()
    def __init__(self):
        self.busy, self.trying, self.renew_at, self.events = set(), None, None, []
    def record(self, kind, content):
        self.events.append(content)
    def report(self, *result):
        pass
def flashed(*files):
    os.mkdir("/cert")
    for name, content in zip(("ca0.der", "cert.der", "key.der"), files):
        with open("/cert/" + name, "wb") as file:
            file.write(content)
"""


def on_board(script, board, *others):
    """Run a script that has `files`, what the board is flashed with, and `others`; a VM takes no long arguments."""
    return json.loads(run(IMPORTS + f"files, others = {board!r}, {others!r}\n", script))


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return TestAuthority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def board(authority):
    """What a board is flashed with: CA, certificate, key."""
    return [authority.certificate.public_bytes(DER), *pair(authority)]


def pair(authority):
    cert, key = authority.issue("board-1")
    secret = serialization.load_pem_private_key(key.read_bytes(), None)
    certificate = x509.load_pem_x509_certificate(cert.read_bytes()).public_bytes(DER)
    return certificate, secret.private_bytes(DER, SEC1, serialization.NoEncryption())


def test_signatures_are_those_of_rfc_6979_and_wrong_ones_are_told_apart():
    script = """
async def main():
    secret = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721
    point = await p256.public(secret)
    told = [hexlify(part).decode() for part in (point[:1], point[1:33], point[33:])]
    for message in (b"sample", b"test"):
        r, s = await p256.sign(secret, message)
        told += ["%x" % r, "%x" % s]
    checks = [await p256.is_signed(point, b"test", r, s), await p256.is_signed(point, b"tesT", r, s),
        await p256.is_signed(point, b"test", r, s ^ 1), await p256.is_signed(point, b"test", 0, s),
        await p256.is_signed(b"\\x04" + b"\\x01" * 64, b"test", r, s)]
    print(json.dumps([told, checks]))
asyncio.run(main())
"""
    told, checks = json.loads(run(IMPORTS, script))

    assert told == RFC_6979
    assert checks == [True, False, False, False, False]


def test_keys_and_signatures_agree_with_openssls():
    script = """
async def main():
    told = []
    for secret in [1, 2, p256.N - 1, p256.N - 2] + [p256.new_secret() for _ in range(8)]:
        r, s = await p256.sign(secret, b"m")
        told.append([hexlify(await p256.public(secret)).decode(), "%x" % r, "%x" % s])
    print(json.dumps(told))
asyncio.run(main())
"""
    for point, r, s in json.loads(run(IMPORTS, script)):
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes.fromhex(point))
        signature = encode_dss_signature(int(r, 16), int(s, 16))
        key.verify(signature, b"m", ec.ECDSA(hashes.SHA256()))
        with pytest.raises(InvalidSignature):
            key.verify(signature, b"n", ec.ECDSA(hashes.SHA256()))


ASK = """
flashed(*files)
board = Board()
async def ask():
    renewal.begin(board)
    while board.busy:
        await asyncio.sleep(0)
asyncio.run(ask())
"""


def issued(authority, name, csr, signer=None):
    request = x509.load_der_x509_csr(csr)
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=board-1"
    builder = authority._builder(name, authority.certificate.subject, request)
    return builder.sign(signer or authority.key, hashes.SHA256()).public_bytes(DER)


def test_the_request_stays_the_same_until_it_is_answered(board):
    script = ASK + "asyncio.run(ask())\nprint(json.dumps([text.decode() for text in Connection.told]))"
    first, again = on_board(script, board)

    assert first == again
    request = x509.load_der_x509_csr(binascii.a2b_base64(json.loads(first)["csr"]))
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=board-1"
    assert isinstance(request.public_key().curve, ec.SECP256R1)


WRONG = {
    "another key": "certificate: is for another key",
    "another device": "certificate: is for another device",
    "another CA": "certificate: is of a CA that this board does not trust",
    "a forged signature": "certificate: is not signed by its CA",
    "garbage": "certificate: can't be read",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_certificate_that_does_not_fit_is_refused_and_told(authority, board, tmp_path, wrong):
    """The key is made here, so that the VM and OpenSSL hold the same."""
    secret = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "board-1")])
    )
    csr = builder.sign(secret, hashes.SHA256()).public_bytes(DER)
    stranger = TestAuthority(tmp_path, name="another root" if wrong == "another CA" else "test root")
    certificate = {
        "another key": lambda: pair(authority)[0],
        "another device": lambda: issued(authority, "board-2", csr),
        "another CA": lambda: issued(stranger, "board-1", csr),
        "a forged signature": lambda: issued(stranger, "board-1", csr),
        "garbage": lambda: b"\x30\x03abc",
    }[wrong]()
    number = secret.private_numbers().private_value.to_bytes(32, "big")
    script = """
flashed(*files)
with open("/cert/request", "wb") as file:
    file.write(others[0])
board = Board()
async def take():
    renewal.take(board, wire.answer(wire.fingerprint(others[0][32:]), others[1]))
    while board.busy:
        await asyncio.sleep(0)
asyncio.run(take())
print(json.dumps([board.trying, board.events, sorted(os.listdir("/cert"))]))
"""
    trying, events, files = on_board(script, board, number + csr, certificate)

    assert trying is None
    assert events == [{"type": "certificate.refused", "data": {"reason": WRONG[wrong]}}]
    assert files == ["ca0.der", "cert.der", "key.der"]


def test_a_power_cut_at_any_write_of_a_renewal_leaves_an_identity_that_works(authority, board):
    new = pair(authority)
    script = """
old, new = (files[2], files[1]), (others[1], others[0])
asked = b"s" * 32 + b"request"
def renew(board):
    with open("/cert/request", "wb") as file:
        file.write(asked)
    identity.keep(identity.NEXT, *new)
    board.trying = "next"
    renewal.reached(board)
cuts, outcomes = 0, {}
for torn in (0, 1):
    cut = 0
    while True:
        flash = Torn(64, torn)
        mount(flash)
        flashed(*files)
        flash.cut_after = cut
        try:
            renew(Board())
        except OSError:
            pass
        if flash.cut_after >= 0:
            break
        flash.cut_after = None
        mount(flash, fresh=False)
        board = Board()
        identity.load(board)
        found = identity.pair(identity.NEXT if board.trying else identity.OWN)
        fallback = identity.pair(identity.OWN)
        assert found in (old, new) and fallback in (old, new), cut
        if board.trying:
            assert found == new and fallback == old, cut
        outcome = board.trying or ("own" if found == new else "old")
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        cut, cuts = cut + 1, cuts + 1
flash.cut_after = None
assert identity.pair(identity.OWN) == new
with open("/cert/cert.der", "wb") as file:
    file.write(b"flashed anew")
with open("/cert/key.der", "wb") as file:
    file.write(b"its key")
assert identity.pair(identity.OWN) == (b"its key", b"flashed anew")
print(json.dumps([cuts, outcomes]))
"""
    torn = """
class Torn(Flash):
    def __init__(self, blocks, torn):
        super().__init__(blocks)
        self.torn = torn
    def writeblocks(self, block, buffer, offset=0):
        if self.torn and self.cut_after == 0:
            half = bytes(memoryview(buffer)[: len(buffer) // 2])
            self.cut_after = None
            Flash.writeblocks(self, block, half, offset)
            self.cut_after = 0
        return Flash.writeblocks(self, block, buffer, offset)
"""
    cuts, outcomes = on_board(torn + script, board, *new)

    assert set(outcomes) == {"old", "next", "own"}
    assert cuts >= 10
