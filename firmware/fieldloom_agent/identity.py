"""Who this board is to the gateway: its certificate, the CAs it trusts, the release that it runs."""

import json
import os
import ssl

from fieldloom_agent.clock import certificate_start

FOLDER = "/cert/"
RELEASE = "/release.json"


def release():
    """Return {"version", "built" (Unix seconds)}."""
    with open(RELEASE) as file:
        return json.load(file)


def context(clock, built):
    """Return the TLS context; before it is used the clock has to be no older than what the board knows."""
    own = _read("cert.der")
    clock.wake(built, certificate_start(own))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_cert_chain(own, _read("key.der"))
    for name in os.listdir(FOLDER):
        if name.startswith("ca"):  # one call for each: a file with two would be read as one
            made.load_verify_locations(cadata=_read(name))
    made.verify_mode = ssl.CERT_REQUIRED
    return made


def _read(name):
    with open(FOLDER + name, "rb") as file:
        return file.read()
