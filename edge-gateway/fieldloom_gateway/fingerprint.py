"""The name of a site's CA, by which people compare it with the one on paper. (C8, D3)"""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from fieldloom_runtime.errors import StartFailed


def fingerprint(ca: Path) -> str:
    """Return the SHA-256 of the root among some certificates, PEM, as `openssl x509 -fingerprint` tells it.

    It is in small hexadecimal digits without colons. Raises StartFailed.
    """
    try:
        known = x509.load_pem_x509_certificates(ca.read_bytes())
    except (OSError, ValueError) as error:
        raise StartFailed(f"{ca} can't be read ({error})", "set ca in gateway.json to the CA's certificates") from None
    roots = [one for one in known if one.issuer == one.subject]
    return (roots or known)[0].fingerprint(hashes.SHA256()).hex()
