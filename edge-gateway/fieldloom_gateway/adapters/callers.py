"""Who makes an HTTP request: the holder of a token, or of a certificate of the CA that is not revoked. (P3, P8)"""

from pathlib import Path

import structlog
from cryptography import x509
from cryptography.x509.oid import NameOID

from fieldloom_gateway.adapters.base import Credentials

log = structlog.get_logger()

BEARER = "bearer "


class Callers:
    """Knows devices by what they show; `revoked` is the list, PEM, that the gateway's broker keeps to."""

    def __init__(self, credentials: Credentials, revoked: Path) -> None:
        self._credentials = credentials
        self._path = revoked
        self._read_at: int | None = None
        self._revoked: x509.CertificateRevocationList | None = None

    def device(self, authorization: str, certificate: bytes | None) -> str | None:
        """Return who shows a header `Authorization` and a certificate, DER, that the CA has signed.

        A token comes before a certificate; None for who shows nothing that holds.
        """
        if authorization[: len(BEARER)].lower() == BEARER:
            return self._credentials.device_of(authorization[len(BEARER) :].strip())
        return None if certificate is None else self._subject(x509.load_der_x509_certificate(certificate))

    def _subject(self, certificate: x509.Certificate) -> str | None:
        try:
            revoked = self._list().get_revoked_certificate_by_serial_number(certificate.serial_number)
        except (OSError, ValueError) as error:
            log.error("revocation_list_unreadable", path=str(self._path), error=str(error))  # noqa: TRY400
            return None
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(names[0].value) if names and revoked is None else None

    def _list(self) -> x509.CertificateRevocationList:
        """Return the list, read anew whenever it was written anew."""
        written = self._path.stat().st_mtime_ns
        if self._revoked is None or written != self._read_at:
            self._revoked, self._read_at = x509.load_pem_x509_crl(self._path.read_bytes()), written
        return self._revoked
