"""Keys and certificate requests of new identities. A key is made here and never leaves this machine. (P2)"""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def new_key_and_request(name: str) -> tuple[bytes, bytes]:
    """Return a new P-256 key and a request (PKCS#10) for the common name, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    pem = serialization.Encoding.PEM
    # SEC1, since boards before MicroPython 1.24 read no PKCS#8.
    secret = key.private_bytes(pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
    return secret, request.sign(key, hashes.SHA256()).public_bytes(pem)


def write(folder: Path, key: bytes, certificate: str, ca: str) -> dict[str, Path]:
    """Write key.pem (0600), cert.pem and ca.pem, and return their absolute paths as key, cert and ca."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {part: (folder / f"{part}.pem").resolve() for part in ("cert", "key", "ca")}
    paths["key"].touch(mode=0o600)
    paths["key"].write_bytes(key)
    paths["cert"].write_text(certificate)
    paths["ca"].write_text(ca)
    return paths
