"""Who this board is to the gateway: its certificate, and the CAs that it trusts."""

import os
import sys

from fieldloom_agent import overlay

FOLDER = "/cert/"


def context(built):
    """Return the TLS context, the clock set to no less than what the board knows: `built` is in Unix seconds."""
    # From 1.23 on `ssl` is a wrapper in Python around `tls`, for whose memory a board has a better use.
    ssl = __import__("tls" if sys.implementation.version >= (1, 23) else "ssl")
    own = _read("cert.der")
    overlay.call("rtc", "wake", built, overlay.call("rtc", "certificate_start", own))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_cert_chain(own, _read("key.der"))
    for name in os.listdir(FOLDER):
        if name.startswith("ca"):  # one call for each: a file with two would be read as one
            made.load_verify_locations(_read(name))
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def _read(name):
    with open(FOLDER + name, "rb") as file:
        return file.read()
