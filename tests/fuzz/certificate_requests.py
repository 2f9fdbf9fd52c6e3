"""Requests for certificates (PKCS#10), as EST, renewal and the API take them, up to the signature. (P2, P4)"""

import base64
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from fieldloom_cloud.enrolment import est
from fieldloom_cloud.errors import BadContent
from fieldloom_cloud.pki.authority import Authority, BadRequest, request_from_der
from fuzz.target import Target, chosen, numbered

_folder = tempfile.TemporaryDirectory()
AUTHORITY = Authority.create(Path(_folder.name))


def _request() -> bytes:
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "dev-1")])
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.DER)


def _pem(der: bytes) -> bytes:
    body = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + body + b"-----END CERTIFICATE REQUEST-----\n"


def over_est(body: bytes) -> object:
    return AUTHORITY.issue(est._request(body), "dev-1")


def over_renewal(der: bytes) -> object:
    return AUTHORITY.issue(request_from_der(der), "dev-1")


def over_the_api(text: bytes) -> object:
    return AUTHORITY.issue(text.decode(errors="replace"), "dev-1")


DER = _request()
OF_ANOTHER_VERSION = DER.replace(b"\x02\x01\x00", b"\x02\x01\x01", 1)
TARGET = Target(
    chosen([over_est, over_renewal, over_the_api]),
    numbered([[base64.encodebytes(DER)], [DER], [_pem(DER)]]),
    (BadContent, BadRequest),
    numbered([[base64.encodebytes(OF_ANOTHER_VERSION)], [OF_ANOTHER_VERSION], [_pem(OF_ANOTHER_VERSION)]]),
)
