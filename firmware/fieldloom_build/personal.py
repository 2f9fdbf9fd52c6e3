"""What is one board's own: its identity and its configuration. (F6)"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

CONFIGURATION_FILE = "/config.json"
ROOT_FILE = "/release-root"
"""What a board trusts releases by; without it there are no updates over the air."""


@dataclass(frozen=True)
class Identity:
    """Who a board is: the PEM files that `fieldloom device new` wrote."""

    device: str
    cert: Path
    key: Path
    ca: Path


def certificates(identity: Identity) -> dict[str, bytes]:
    """Return the board's certificate, key and CAs by their path on it, in DER as every release of MicroPython reads."""
    cert = x509.load_pem_x509_certificate(identity.cert.read_bytes())
    key = serialization.load_pem_private_key(identity.key.read_bytes(), None)
    authorities = x509.load_pem_x509_certificates(identity.ca.read_bytes())
    der = serialization.Encoding.DER
    sec1 = key.private_bytes(der, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    files = {f"/cert/ca{number}.der": ca.public_bytes(der) for number, ca in enumerate(authorities)}
    return files | {"/cert/cert.der": cert.public_bytes(der), "/cert/key.der": sec1}


def personal(identity: Identity, configuration: dict[str, Any]) -> dict[str, bytes]:
    """Return all that is one board's own, by its path on the board."""
    told = {**configuration, "device": identity.device}
    return certificates(identity) | {CONFIGURATION_FILE: json.dumps(told).encode()}
