"""The messages of a renewal, on both interpreters. (P4)"""

import json

import pytest

from fieldloom_contract import renewal
from fieldloom_contract.errors import Rejected
from fixtures.micropython import run_on_micropython

CSR, CERTIFICATE = b"\x30\x03abc", b"\x30" + bytes(range(256)) * 3
SCRIPT = f"""
from fieldloom_contract import renewal
csr, certificate = {CSR!r}, {CERTIFICATE!r}
print(renewal.request(csr).decode())
print(renewal.answer(renewal.fingerprint(csr), certificate).decode())
print(renewal.answer(renewal.fingerprint(csr), None, "revoked").decode())
"""


def test_both_interpreters_say_the_same_and_read_it_again():
    request, answer, refusal = run_on_micropython(SCRIPT).splitlines()
    name = renewal.fingerprint(CSR)

    assert json.loads(request) == json.loads(renewal.request(CSR))
    assert renewal.parse_request(request.encode()) == CSR
    assert renewal.parse_answer(answer.encode()) == {"request": name, "certificate": CERTIFICATE, "error": None}
    assert renewal.parse_answer(refusal.encode()) == {"request": name, "certificate": None, "error": "revoked"}


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        (b"{}", "csr"),
        (b'{"csr": 7}', "csr"),
        (b'{"csr": "a"}', "csr"),
        (b'{"csr": "YWJj"}', "csr"),
        (b'{"csr": "' + b"A" * 4000 + b'"}', "csr"),
        (b"[]", "payload"),
    ],
)
def test_what_is_no_request_is_refused_with_its_field(payload, field):
    with pytest.raises(Rejected) as refused:
        renewal.parse_request(payload)

    assert refused.value.field == field
