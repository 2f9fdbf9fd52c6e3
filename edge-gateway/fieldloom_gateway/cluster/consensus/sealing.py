"""How two members prove that they know the cluster's secret, and seal what they send each other. (D1, ADR 50)

Each side sends a fresh X25519 key; both keys, and the secret as salt, give two AES-256-GCM keys by HKDF-SHA256 (RFC
7748, RFC 5869), one a direction, with a counter as nonce. Whoever lacks the secret can neither read nor write a frame
nor play one again, and a secret that leaks later opens nothing that was recorded before.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

HELLO = b"fieldloom cluster 1\n"
KEY_BYTES = 32
HELLO_BYTES = len(HELLO) + KEY_BYTES
SECRET_BYTES = 16
"""A secret's least length."""


class NotSealed(Exception):  # noqa: N818 - it reads as what happened
    """What came is not from somebody who knows the secret, or was changed on the way."""


class Seal:
    """The keys of one connection; frames are sealed and opened in the order in which they are sent."""

    def __init__(self, secret: bytes, *, dialled: bool) -> None:
        """Draw a key; `dialled` says whether this side has opened the connection."""
        self._secret = secret
        self._dialled = dialled
        self._private = X25519PrivateKey.generate()
        self._sent = self._received = 0
        self.hello = HELLO + self._private.public_key().public_bytes_raw()
        """What the other side needs first."""

    def agree(self, hello: bytes) -> None:
        """Take the other side's hello. Raises NotSealed."""
        if len(hello) != HELLO_BYTES or not hello.startswith(HELLO):
            raise NotSealed("it speaks another protocol, or another version")
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(hello[-KEY_BYTES:]))
        except ValueError as error:
            raise NotSealed("its key is no key") from error
        both = (self.hello, hello) if self._dialled else (hello, self.hello)
        keys = HKDF(SHA256(), 2 * KEY_BYTES, salt=self._secret, info=b"".join(both)).derive(shared)
        dialler, listener = AESGCM(keys[:KEY_BYTES]), AESGCM(keys[KEY_BYTES:])
        self._out, self._into = (dialler, listener) if self._dialled else (listener, dialler)

    def close(self, body: bytes) -> bytes:
        """Return a body as it may travel."""
        self._sent += 1
        return self._out.encrypt(self._sent.to_bytes(12), body, None)

    def open(self, sealed: bytes) -> bytes:
        """Return what was sealed. Raises NotSealed."""
        self._received += 1
        try:
            return self._into.decrypt(self._received.to_bytes(12), sealed, None)
        except InvalidTag as error:
            raise NotSealed("it does not know the cluster's secret") from error
