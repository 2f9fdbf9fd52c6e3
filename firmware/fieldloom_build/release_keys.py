"""The keys behind releases: a root that stays offline, and release keys that it signs, each a folder. (F5)

A root's folder has `root.pem` (private) and `root.pub` (what boards are given); a release key's has `key.pem`
(private), `key` and `key.sig` (what goes into releases). RSA-3072, since boards can verify nothing else; the documents
are those of `fieldloom_contract.release`.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from fieldloom_build.errors import BuildFailed
from fieldloom_contract import documents
from fieldloom_contract.release import EXPONENT, KEY, KEY_SIGNATURE, Key, is_signed, parse_key, parse_root

BITS = 3072
ROOT_PRIVATE, ROOT_PUBLIC, KEY_PRIVATE = "root.pem", "root.pub", "key.pem"


@dataclass(frozen=True)
class ReleaseKey:
    """A release key, ready to sign: `document` and `signature` are what a release carries of it."""

    private: rsa.RSAPrivateKey
    document: bytes
    signature: bytes

    @property
    def told(self) -> Key:
        """Its serial, its end and its modulus."""
        return parse_key(self.document)

    def sign(self, content: bytes) -> bytes:
        """Return the signature of a manifest."""
        return _sign(self.private, content)


def new_root(folder: Path) -> bytes:
    """Make a root in a new folder and return its public part. Raises BuildFailed rather than write over one."""
    private = _generate()
    public = documents.pack_root(private.public_key().public_numbers().n)
    _store(folder, {ROOT_PRIVATE: _private_bytes(private), ROOT_PUBLIC: public})
    return public


def new_key(root: Path, folder: Path, serial: int, expires: int) -> Key:
    """Make a release key that a root signs, in a new folder; `expires` is in Unix s. Raises BuildFailed."""
    signer = _load(root / ROOT_PRIVATE)
    private = _generate()
    key = Key(serial, expires, private.public_key().public_numbers().n)
    document = documents.pack_key(key)
    files = {KEY_PRIVATE: _private_bytes(private), KEY: document, KEY_SIGNATURE: _sign(signer, document)}
    _store(folder, files)
    return key


def load_key(folder: Path) -> ReleaseKey:
    """Return the release key in a folder. Raises BuildFailed, Rejected."""
    private = _load(folder / KEY_PRIVATE)
    try:
        made = ReleaseKey(private, (folder / KEY).read_bytes(), (folder / KEY_SIGNATURE).read_bytes())
    except OSError as error:
        raise BuildFailed(f"{error.filename} can't be read: it belongs to the release key") from None
    if made.told.modulus != private.public_key().public_numbers().n:
        raise BuildFailed(f"{folder / KEY} is that of another key than {KEY_PRIVATE} beside it")
    return made


def load_root(path: Path) -> bytes:
    """Return a root's public part. Raises BuildFailed, Rejected."""
    try:
        public = path.read_bytes()
    except OSError:
        raise BuildFailed(f"{path} can't be read: `fieldloom release-key root` writes a {ROOT_PUBLIC}") from None
    parse_root(public)
    return public


def is_of_root(key: ReleaseKey, public: bytes) -> bool:
    """Whether a root has signed a release key."""
    digest = hashes.Hash(hashes.SHA256())
    digest.update(key.document)
    return is_signed(parse_root(public), digest.finalize(), key.signature)


def _generate() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(EXPONENT, BITS)


def _sign(private: rsa.RSAPrivateKey, content: bytes) -> bytes:
    return private.sign(content, padding.PKCS1v15(), hashes.SHA256())


def _private_bytes(private: rsa.RSAPrivateKey) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load(path: Path) -> rsa.RSAPrivateKey:
    try:
        private = serialization.load_pem_private_key(path.read_bytes(), None)
    except OSError:
        raise BuildFailed(f"{path} can't be read: `fieldloom release-key --help` says how keys are made") from None
    except (ValueError, TypeError):
        raise BuildFailed(f"{path} is no private key in PEM without a passphrase") from None
    if not isinstance(private, rsa.RSAPrivateKey) or private.key_size != BITS:
        raise BuildFailed(f"{path} is not RSA-{BITS}, which is what boards verify")
    return private


def _store(folder: Path, files: dict[str, bytes]) -> None:
    """Write new files, for their owner alone to read. Raises BuildFailed if one is there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in files:
        if (folder / name).exists():
            raise BuildFailed(f"{folder / name} is there already: a key is never written over, give a new folder")
    for name, content in files.items():
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
