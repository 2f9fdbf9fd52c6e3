"""The private CA: a root that can be taken offline, and an intermediate that signs. (P1, P2)

What a board sees is dated from 1999, since a board without a clock wakes in 2000 and mbedTLS checks dates.
"""

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fieldloom_cloud.pki.sealing import Sealer
from fieldloom_runtime import files
from fieldloom_runtime.errors import StartFailed

BEFORE_ANY_CLOCK = datetime(1999, 1, 1, tzinfo=UTC)
CA_ENDS = datetime(2074, 1, 1, tzinfo=UTC)
LISTS_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
VALID_DAYS = 365
RSA_BITS, RSA_MAX_BITS = 2048, 8192
CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
PEM = serialization.Encoding.PEM
UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)  # what cryptography raises over a CSR


class BadRequest(Exception):  # noqa: N818 - PKCS#10's word: a certificate request that can't be granted
    """A CSR that is damaged, not signed by its own key, or for another subject."""


@dataclass(frozen=True)
class Issued:
    """A certificate, with the intermediate that a server has to show, and what is worth storing."""

    serial: str
    pem: str
    not_after: datetime


class Revoked(NamedTuple):
    """An entry of the list of revoked certificates."""

    serial: str
    when: datetime
    reason: str


class Authority:
    """The CA of a data folder. Keys are 0600; `root.key` may be moved away once the intermediate is signed.

    `sealer` keeps what the database may not tell, with a key that lies beside the CA's.
    """

    def __init__(self, folder: Path) -> None:
        self.ca = folder / "ca.pem"
        self.sealer = Sealer(folder / "credentials.key")
        try:
            key = serialization.load_pem_private_key((folder / "intermediate.key").read_bytes(), None)
            self._certificate = x509.load_pem_x509_certificate((folder / "intermediate.pem").read_bytes())
        except FileNotFoundError as error:
            raise StartFailed(f"{error.filename} is missing", "restore it, or run `fieldloom cloud init`") from None
        except ValueError as error:
            raise StartFailed(f"the CA in {folder} is damaged ({error})", "restore it from a copy") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise StartFailed(f"{folder}/intermediate.key is no EC key", "restore it from a copy")
        self._key = key

    @classmethod
    def create(cls, folder: Path) -> "Authority":
        """Make root and intermediate in a folder, unless they are there."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not (folder / "intermediate.pem").exists():
            root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
            root = _ca("Fieldloom root", root_key, "Fieldloom root", root_key, path_length=1)
            intermediate = _ca("Fieldloom intermediate", key, "Fieldloom root", root_key, path_length=0)
            write_key(folder / "root.key", root_key)
            write_key(folder / "intermediate.key", key)
            files.write(folder / "root.pem", root.public_bytes(PEM), files.PUBLIC)
            # Clients of ours may show a leaf alone, so the anchors are both.
            files.write(folder / "ca.pem", root.public_bytes(PEM) + intermediate.public_bytes(PEM), files.PUBLIC)
            files.write(folder / "intermediate.pem", intermediate.public_bytes(PEM), files.PUBLIC)
        return cls(folder)

    def identify(self) -> str:
        """Return the hash of what all processes of one cloud have to have: the CA, and the key that seals secrets."""
        return hashlib.sha256(self.ca.read_bytes() + self.sealer.key()).hexdigest()

    def provide(self, identity: str, host: str) -> None:
        """Give a process of the cloud its own certificate, as a server of a host too, unless it has one."""
        folder = self.ca.parent
        if not (folder / f"{identity}.pem").exists():
            key = ec.generate_private_key(ec.SECP256R1())
            write_key(folder / f"{identity}.key", key)
            issued = self.issue(new_request(identity, key), identity, (host, "localhost"))
            files.write(folder / f"{identity}.pem", issued.pem, files.PUBLIC)

    def issue(self, csr: str, subject: str | None = None, hosts: tuple[str, ...] = ()) -> Issued:
        """Sign a request; with `subject` only for that CN, with `hosts` as a server of these names too.

        Raises BadRequest.
        """
        request = read_request(csr)
        _refuse_weak(request)
        name = common_name(request)
        if subject is not None and name != subject:
            raise BadRequest(f"the request is for {name}, not for {subject}")
        born = BEFORE_ANY_CLOCK if hosts else datetime.now(UTC) - timedelta(minutes=5)
        dies = datetime.now(UTC) + timedelta(days=VALID_DAYS)
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self._certificate.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(born)
            .not_valid_after(dies)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if hosts:
            builder = builder.add_extension(_alternative_names(hosts), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        chain = certificate.public_bytes(PEM) + self._certificate.public_bytes(PEM)
        return Issued(f"{certificate.serial_number:x}", chain.decode(), dies)

    def sign_list(self, number: int, revoked: Iterable[Revoked]) -> str:
        """Return a list of revoked certificates (CRL, RFC 5280), PEM; a later one has a higher number. (P3)

        Its dates are no times. OpenSSL takes the later of two lists of one second at random, refuses everybody while a
        list is from the future, and for ever once its next update is past: so a list is dated by its number, some 27
        years back and before any wrong clock, and ends with the CA.
        """
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(BEFORE_ANY_CLOCK + timedelta(seconds=number))
            .next_update(CA_ENDS)
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        for entry in revoked:
            builder = builder.add_revoked_certificate(_revoked(entry))
        return builder.sign(self._key, hashes.SHA256()).public_bytes(PEM).decode()


def list_number(moment: datetime) -> int:
    """Return the number that a list of a moment has, if it is not a second one of that second."""
    return int((moment - LISTS_BEGIN).total_seconds())


def read_request(csr: str) -> x509.CertificateSigningRequest:
    """Return a PKCS#10 request whose signature holds. Raises BadRequest."""
    try:
        request = x509.load_pem_x509_csr(csr.encode())
        is_signed = request.is_signature_valid
        request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)  # read late, and refused late
    except UNREADABLE as error:
        raise BadRequest(f"the request can't be read ({error})") from None
    if not is_signed:
        raise BadRequest("the request is not signed by its own key")
    return request


def request_from_der(der: bytes) -> str:
    """Return a PKCS#10 request, PEM, of which nothing has been checked. Raises BadRequest."""
    try:
        return x509.load_der_x509_csr(der).public_bytes(PEM).decode()
    except UNREADABLE as error:
        raise BadRequest(f"the request can't be read ({error})") from None


def certs_only(pem: str, *, leaf_alone: bool) -> bytes:
    """Return certificates, or the first of them, as a PKCS#7 message without content, DER, as EST gives them."""
    certificates = x509.load_pem_x509_certificates(pem.encode())
    told = certificates[:1] if leaf_alone else certificates
    return pkcs7.serialize_certificates(told, serialization.Encoding.DER)


def common_name(request: x509.CertificateSigningRequest) -> str:
    """Return the one CN of a request. Raises BadRequest."""
    names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1:
        raise BadRequest("the subject must have exactly one common name")
    return str(names[0].value)


def fingerprint(certificate_or_request: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """Return the SHA-256 of a public key, by which it is known again."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    key = certificate_or_request.public_key().public_bytes(serialization.Encoding.DER, form)
    return hashlib.sha256(key).hexdigest()


def new_request(name: str, key: ec.EllipticCurvePrivateKey) -> str:
    """Return a PKCS#10 request for a key of our own, PEM."""
    builder = x509.CertificateSigningRequestBuilder(_name(name))
    return builder.sign(key, hashes.SHA256()).public_bytes(PEM).decode()


def write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a key that its owner alone can read."""
    form = serialization.PrivateFormat.TraditionalOpenSSL
    files.write(path, key.private_bytes(PEM, form, serialization.NoEncryption()))


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _refuse_weak(request: x509.CertificateSigningRequest) -> None:
    key = request.public_key()
    if isinstance(key, rsa.RSAPublicKey) and not RSA_BITS <= key.key_size <= RSA_MAX_BITS:
        raise BadRequest(f"an RSA key must have {RSA_BITS} to {RSA_MAX_BITS} bits, not {key.key_size}")
    if isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(key.curve, CURVES):
        raise BadRequest(f"the curve must be P-256, P-384 or P-521, not {key.curve.name}")
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise BadRequest("the key must be EC or RSA")


def _revoked(entry: Revoked) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(int(entry.serial, 16)).revocation_date(entry.when)
    if entry.reason != "unspecified":  # RFC 5280, 5.3.1: then the reason is left out
        builder = builder.add_extension(x509.CRLReason(x509.ReasonFlags[entry.reason]), critical=False)
    return builder.build()


def _alternative_names(hosts: tuple[str, ...]) -> x509.SubjectAlternativeName:
    """Return hosts as DNS names, and addresses as addresses too: older mbedTLS looks for them as names."""
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts]
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            continue
    return x509.SubjectAlternativeName(names)


def _ca(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, path_length: int
) -> x509.Certificate:
    signs = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEFORE_ANY_CLOCK)
        .not_valid_after(CA_ENDS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(signs, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(signer, hashes.SHA256())
