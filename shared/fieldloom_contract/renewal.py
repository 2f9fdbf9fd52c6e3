"""Renewal of a device's certificate over its own connection: a request goes up, its answer comes down. (P4)"""

import hashlib
from binascii import a2b_base64, b2a_base64, hexlify

from fieldloom_contract.compat import Any
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import dumps, optional_text, read_object, text
from fieldloom_contract.limits import MAX_DOWN_BYTES, MAX_UP_BYTES

MAX_DER = 2048  # of a request or a certificate: with base64 it fits a message down


def fingerprint(csr: bytes) -> str:
    """Return the SHA-256 by which an answer names its request."""
    return hexlify(hashlib.sha256(csr).digest()).decode()


def request(csr: bytes) -> bytes:
    """Build a request: PKCS#10, DER."""
    return dumps({"csr": _base64(csr)})


def parse_request(payload: bytes) -> bytes:
    """Return a request's PKCS#10, DER, of which nothing has been checked. Raises Rejected."""
    return _der(read_object(payload, MAX_UP_BYTES), "csr")


def answer(request_id: str, certificate: bytes | None, error: str | None = None) -> bytes:
    """Build the answer to a request: the certificate, DER, or why there is none."""
    if certificate is None:
        return dumps({"request": request_id, "error": (error or "refused")[:256]})
    return dumps({"request": request_id, "certificate": _base64(certificate)})


def parse_answer(payload: bytes) -> dict[str, Any]:
    """Return {"request", "certificate" (DER), "error"}; one of the last two is None. Raises Rejected."""
    message = read_object(payload, MAX_DOWN_BYTES)
    error = optional_text(message, "error")
    certificate = None if error is not None else _der(message, "certificate")
    return {"request": text(message, "request"), "certificate": certificate, "error": error}


def _base64(der: bytes) -> str:
    return b2a_base64(der).decode().strip()


def _der(message: dict[str, Any], field: str) -> bytes:
    try:
        der = a2b_base64(text(message, field, MAX_DER * 4 // 3 + 4))
    except ValueError as error:
        raise Rejected(field, "is not base64: " + str(error)) from error
    if der[:1] != b"\x30":
        raise Rejected(field, "is not DER")
    return der
