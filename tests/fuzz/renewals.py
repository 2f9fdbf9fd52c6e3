"""Renewal of a certificate over a device's own connection. (P4)"""

from fieldloom_contract import renewal
from fieldloom_contract.errors import Rejected
from fuzz.target import Target, chosen, numbered

SEEDS = [
    [renewal.request(b"\x30\x03\x02\x01\x00")],
    [renewal.answer("0" * 64, b"\x30\x03\x02\x01\x00"), renewal.answer("0" * 64, None, "revoked")],
]
TARGET = Target(chosen([renewal.parse_request, renewal.parse_answer]), numbered(SEEDS), (Rejected,))
