"""Who this board is to the gateway: its key and certificate, and the CAs that it trusts. (P4)

As it was flashed, that is /cert/key.der and /cert/cert.der. A renewed identity is one file, so that key and certificate
are there together or not at all: /cert/next while it is on trial, /cert/own once a gateway has taken it. It begins with
the checksum of the flashed certificate: a board that is flashed anew is who it was flashed to be.
"""

import os
import random
import struct
import sys
from binascii import crc32

from fieldloom_agent import overlay

FOLDER = "/cert/"
OWN, NEXT = FOLDER + "own", FOLDER + "next"
HEAD = "<IH"  # checksum of the flashed certificate, length of the key
RENEW_AT = 65  # percent of a certificate's life, and up to ten more at random: boards are not to come all at once
AGAIN_MS = 5000  # without an answer; doubled each time


def load(agent):
    """Give an agent the identity that it has, and return its TLS context. One on trial is tried first."""
    agent.trying = "next" if _renewed(NEXT) else None
    made = context(agent)
    if agent.trying is None and "request" in os.listdir(FOLDER):
        agent.renew_at = 0
    return made


def context(agent):
    """Return the TLS context of the identity that the agent is trying, the clock set to no less than what is known."""
    # From 1.23 on `ssl` is a wrapper in Python around `tls`, for whose memory a board has a better use.
    ssl = __import__("tls" if sys.implementation.version >= (1, 23) else "ssl")
    key, certificate = pair(NEXT if agent.trying == "next" else OWN)
    start = overlay.call("rtc", "certificate_date", certificate, 0)
    end = overlay.call("rtc", "certificate_date", certificate, 1)
    agent.renew_at = (
        (start + (end - start) * (RENEW_AT + random.randrange(10)) // 100) * 1000 if start and end else None
    )
    agent.renew_again = AGAIN_MS
    overlay.call("rtc", "wake", agent.settings.release["built"], start)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_cert_chain(certificate, key)
    for ca in authorities():  # one call for each: a file with two would be read as one
        made.load_verify_locations(ca)
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def pair(path):
    """Return (key, certificate), DER, of a renewed identity; as flashed if there is none."""
    return _renewed(path) or (_read(FOLDER + "key.der"), _read(FOLDER + "cert.der"))


def keep(path, key, certificate):
    """Write a renewed identity, whole or not at all."""
    with open(path, "wb") as file:
        file.write(struct.pack(HEAD, _flashed(), len(key)) + key + certificate)


def authorities():
    """Yield the CAs that this board trusts, DER."""
    for name in os.listdir(FOLDER):
        if name.startswith("ca"):
            yield _read(FOLDER + name)


def forget(path):
    """Remove a file, which may be gone."""
    try:
        os.remove(path)
    except OSError:
        pass


def _renewed(path):
    try:
        content = _read(path)
        flashed, length = struct.unpack_from(HEAD, content)
    except (OSError, ValueError):
        return None
    if flashed != _flashed():
        forget(path)
        return None
    at = struct.calcsize(HEAD)
    return content[at : at + length], content[at + length :]


def _flashed():
    return crc32(_read(FOLDER + "cert.der")) & 0xFFFFFFFF


def _read(path):
    with open(path, "rb") as file:
        return file.read()
