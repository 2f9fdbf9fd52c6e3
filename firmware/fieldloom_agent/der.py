"""As much of DER (X.690) as a request for a certificate needs, and as a board looks at in a certificate (RFC 5280)."""

from fieldloom_contract.errors import Rejected

SEQUENCE, SET, INTEGER, BITS, OCTETS, OID, TEXT = 0x30, 0x31, 0x02, 0x03, 0x04, 0x06, 0x0C
COMMON_NAME = b"\x55\x04\x03"
EC_KEY = b"\x2a\x86\x48\xce\x3d\x02\x01"
P_256 = b"\x2a\x86\x48\xce\x3d\x03\x01\x07"
ECDSA_SHA256 = b"\x2a\x86\x48\xce\x3d\x04\x03\x02"


def element(tag, *parts):
    """Return an element of these contents."""
    body = b"".join(parts)
    size = len(body)
    if size < 0x80:
        return bytes([tag, size]) + body
    return (bytes([tag, 0x81, size]) if size < 0x100 else bytes([tag, 0x82, size >> 8, size & 0xFF])) + body


def parts(der):
    """Return the contents of an element as [tag, whole, content] each. Raises ValueError and IndexError."""
    found = []
    at, end = _content(der, 0)
    while at < end:
        start, stop = _content(der, at)
        found.append([der[at], der[at:stop], der[start:stop]])
        at = stop
    return found


def number(value):
    """Return a whole number that is not negative, in 32 octets, as an element."""
    octets = value.to_bytes(33, "big")
    while octets[0] == 0 and octets[1] < 0x80:
        octets = octets[1:]
    return element(INTEGER, octets)


def name(common):
    """Return a subject of one common name."""
    return element(SEQUENCE, element(SET, element(SEQUENCE, element(OID, COMMON_NAME), element(TEXT, common.encode()))))


def public_key(point):
    """Return a point's SubjectPublicKeyInfo."""
    return element(
        SEQUENCE, element(SEQUENCE, element(OID, EC_KEY), element(OID, P_256)), element(BITS, b"\x00", point)
    )


def certificate(der):
    """Return {"signed", "issuer", "subject", "key" (SubjectPublicKeyInfo), "signature" (r, s)}. Raises Rejected.

    `signature` is None for one that is not ECDSA with SHA-256.
    """
    try:
        signed, algorithm, signature = parts(der)
        fields = parts(signed[1])
        fields = fields[1:] if fields[0][0] == 0xA0 else fields  # the version
        _, _, issuer, _, subject, key = [field[1] for field in fields[:6]]
        pair = None
        if parts(algorithm[1])[0][2] == ECDSA_SHA256:
            pair = [int.from_bytes(part[2], "big") for part in parts(signature[2][1:])]
    except (ValueError, IndexError):
        raise Rejected("certificate", "can't be read") from None
    return {"signed": signed[1], "issuer": issuer, "subject": subject, "key": key, "signature": pair}


def _content(der, at):
    """Return where the content of the element at a place begins and ends."""
    size, start = der[at + 1], at + 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(der[at + 2 : start], "big")
    if start + size > len(der):
        raise ValueError
    return start, start + size
