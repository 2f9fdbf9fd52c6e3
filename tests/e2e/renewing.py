"""What a test of renewal needs: certificates that end soon, by the CA of a system's cloud, and a board's flash."""

import binascii
import struct
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from littlefs import LittleFS

from fieldloom_build.image import GEOMETRY, update_image
from fieldloom_sim.fleet import FLASH_FILE

DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM


def shorten(system, identity, seconds):
    """Give a device a certificate for its key that began an hour ago and ends in so many seconds."""
    pki = system.cloud.data / "pki"
    signer = serialization.load_pem_private_key((pki / "intermediate.key").read_bytes(), None)
    issuer = x509.load_pem_x509_certificate((pki / "intermediate.pem").read_bytes())
    key = serialization.load_pem_private_key(identity.key.read_bytes(), None)
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer.subject,
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, identity.device)]),
        key.public_key(),
        x509.random_serial_number(),
        now - timedelta(hours=1),
        now + timedelta(seconds=seconds),
    )
    identity.cert.write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(PEM))
    return identity


def flash(fleet, board):
    """Return the files of a board that is off."""
    image = (fleet.path(board) / FLASH_FILE).read_bytes()
    fs = LittleFS(mount=False, block_count=len(image) // GEOMETRY["block_size"], **GEOMETRY)
    fs.context.buffer[:] = image
    fs.mount()
    found = {}
    for folder, _, names in fs.walk("/"):
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            with fs.open(path, "rb") as file:
                found[path] = file.read()
    return found


def renewed(files):
    """Return (certificate, key) of a board's renewed identity."""
    own = files["/cert/own"]
    length = int.from_bytes(own[4:6], "little")
    key = serialization.load_der_private_key(own[6 : 6 + length], None)
    return x509.load_der_x509_certificate(own[6 + length :]), key


def put_on_trial(fleet, board, cert, key):
    """Have a board that is off try another identity at its next start."""
    certificate = x509.load_pem_x509_certificate(cert.read_bytes()).public_bytes(DER)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    secret = serialization.load_pem_private_key(key.read_bytes(), None)
    sec1 = secret.private_bytes(DER, form, serialization.NoEncryption())
    flashed = binascii.crc32(flash(fleet, board)["/cert/cert.der"])
    write_files(fleet, board, {"/cert/next": struct.pack("<IH", flashed, len(sec1)) + sec1 + certificate})


def write_files(fleet, board, files):
    """Write files onto the flash of a board that is off."""
    path = fleet.path(board) / FLASH_FILE
    with path.open("r+b") as file:  # in place: the loader shares this file as memory
        file.write(update_image(path.read_bytes(), files))
