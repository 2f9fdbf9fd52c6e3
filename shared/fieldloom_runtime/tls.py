"""TLS contexts of clients and servers: peers are verified unless that is switched off explicitly. (C7)"""

import ssl
from pathlib import Path

from fieldloom_runtime.errors import StartFailed

# Boards speak TLS 1.2 only; of its suites those with forward secrecy and AEAD are left.
TLS_1_2_CIPHERS = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"


def client_context(
    ca: Path,
    cert: Path | None = None,
    key: Path | None = None,
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    *,
    verify: bool = True,
    is_ours: bool = True,
) -> ssl.SSLContext:
    """Return a context for a client that shows `cert` and accepts servers of `ca`. Raises StartFailed.

    A server that is not ours may have an RSA key: for it OpenSSL's own suites of TLS 1.2 are left.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if is_ours:
        context.set_ciphers(TLS_1_2_CIPHERS)
    return _loaded(context, ca, cert, key, minimum)


def server_context(
    ca: Path,
    cert: Path,
    key: Path,
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    *,
    require_client: bool = True,
) -> ssl.SSLContext:
    """Return a context for a server that shows `cert` and takes only clients of `ca`. Raises StartFailed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED if require_client else ssl.CERT_NONE
    context.set_ciphers(TLS_1_2_CIPHERS)
    return _loaded(context, ca, cert, key, minimum)


def _loaded(
    context: ssl.SSLContext, ca: Path, cert: Path | None, key: Path | None, minimum: ssl.TLSVersion
) -> ssl.SSLContext:
    for path in (ca, cert, key):
        if path is not None and not path.is_file():
            raise StartFailed(f"{path} is missing", "restore it or enrol again")
    context.minimum_version = minimum
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise StartFailed(f"{ca} holds no usable certificate ({error.reason})", "it must be the CA's, PEM") from error
    if cert is not None:
        try:
            context.load_cert_chain(cert, key)
        except ssl.SSLError as error:
            raise StartFailed(
                f"{cert} and {key} do not belong together or are damaged ({error.reason})", "enrol again"
            ) from error
    return context
