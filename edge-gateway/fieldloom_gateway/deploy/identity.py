"""The gateway's identity at its own broker: self-signed, and all that the listener on loopback trusts. (P5, P6)

So no device's certificate opens that listener, no certificate from outside has the gateway's rights, and what is
between the gateway and its own broker does not end with a date that a cloud has to renew.
"""

import ipaddress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAME = "svc.gateway"  # the cloud certifies no name that begins with svc.
BORN = datetime(1999, 1, 1, tzinfo=UTC)  # before any wrong clock
ENDS = datetime(2074, 1, 1, tzinfo=UTC)
PEM = serialization.Encoding.PEM


class Identity(NamedTuple):
    """Where the two files are, PEM."""

    cert: Path
    key: Path


def of(data: Path) -> Identity:
    """Return where the identity of a data folder is."""
    return Identity(data.resolve() / "broker" / "local.pem", data.resolve() / "broker" / "local.key")


def create(data: Path) -> Identity:
    """Make the identity, unless it is there."""
    identity = of(data)
    if not identity.cert.exists():
        identity.key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = ec.generate_private_key(ec.SECP256R1())
        identity.key.touch(mode=0o600)
        identity.key.write_bytes(
            key.private_bytes(PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
        )
        identity.cert.write_bytes(_self_signed(key).public_bytes(PEM))
    return identity


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), BORN, ENDS)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    return builder.add_extension(loopback, critical=False).sign(key, hashes.SHA256())
