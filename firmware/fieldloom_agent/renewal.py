"""A new certificate before the old one ends, with a key that is made here and never leaves. (P4)

What is asked for stands in /cert/request, key and request, until it is answered: the same request brings the same
certificate, however often the power goes. The answer is checked, written beside the old identity (`identity`) and
tried; only when a gateway has taken it is the old one forgotten. A new one that no gateway takes, while it takes the
old one, is given up.
"""

import asyncio
import os

from fieldloom_agent import der, endings, identity, overlay, p256, slots
from fieldloom_contract import board_topics as topics
from fieldloom_contract import renewal
from fieldloom_contract.errors import Rejected

REQUEST = "/cert/request"
KEY_BYTES = 32
LATER_MS = 3600000
BUSY = "renewal"


def begin(agent):
    """Ask for a certificate, unless that is being done; an update leaves no memory for it, so not during one."""
    if agent.trying is None and BUSY not in agent.busy and not slots.is_busy():
        agent.busy.add(BUSY)
        asyncio.create_task(_alone(agent, _ask(agent)))


def take(agent, payload):
    """Take the answer to the request that stands. Raises Rejected."""
    told = renewal.parse_answer(payload)
    secret, request = _stored()
    if request is None or told["request"] != renewal.fingerprint(request) or BUSY in agent.busy:
        return
    if told["error"] is not None:
        _give_up(agent, told["error"])
        return
    agent.busy.add(BUSY)
    asyncio.create_task(_alone(agent, _try(agent, secret, told["certificate"])))


def switch(agent):
    """After a connection that failed, take the other identity; return whether it is the old one's turn."""
    agent.trying = "old" if agent.trying == "next" else "next"
    _be(agent)
    return agent.trying == "old"


def reached(agent):
    """Keep the new identity, now that a gateway has taken it, or give it up for the old one that a gateway took."""
    tried, agent.trying = agent.trying, None
    if tried == "old":
        identity.forget(identity.NEXT)
        _give_up(agent, "no gateway takes the new certificate")
        return
    os.rename(identity.NEXT, identity.OWN)
    for path in (REQUEST, identity.FOLDER + "key.der"):
        identity.forget(path)
    ends = overlay.call("rtc", "certificate_date", identity.pair(identity.OWN)[1], 1) * 1000
    agent.record(topics.EVENT, {"type": "certificate.renewed", "data": {"not_after": ends}})
    endings.finish(agent, "renew", "succeeded", {"not_after": ends}, None)


def is_going_on():
    """Whether a request stands, or a new identity is on trial."""
    return _stored()[1] is not None or identity.NEXT[6:] in os.listdir(identity.FOLDER)


async def _alone(agent, work):
    """Do what needs the memory for itself; without it the agent asks again later."""
    try:
        await work
    except MemoryError:
        print("renewal: takes more memory than this board has left")
    finally:
        agent.busy.discard(BUSY)


async def _ask(agent):
    _, request = _stored()
    if request is None:
        secret = p256.new_secret()
        request = await _signed(agent.settings.device, secret)
        with open(REQUEST, "wb") as file:
            file.write(secret.to_bytes(KEY_BYTES, "big") + request)
    agent.connection.tell(topics.CERTIFICATE_REQUEST, renewal.request(request))


async def _try(agent, secret, certificate):
    try:
        key = await _fitting(agent.settings.device, secret, certificate)
    except Rejected as error:
        _give_up(agent, str(error))
        return
    identity.keep(identity.NEXT, key, certificate)
    agent.trying = "next"
    _be(agent)


async def _signed(device, secret):
    """Return a request (PKCS#10, RFC 2986), DER."""
    point = await p256.public(secret)
    asked = der.element(
        der.SEQUENCE, der.element(der.INTEGER, b"\x00"), der.name(device), der.public_key(point), der.element(0xA0)
    )
    r, s = await p256.sign(secret, asked)
    algorithm = der.element(der.SEQUENCE, der.element(der.OID, der.ECDSA_SHA256))
    signature = der.element(der.SEQUENCE, der.number(r), der.number(s))
    return der.element(der.SEQUENCE, asked, algorithm, der.element(der.BITS, b"\x00", signature))


async def _fitting(device, secret, certificate):
    """Return the key (RFC 5915), DER, that a certificate fits. Raises Rejected for one that fits not."""
    told = der.certificate(certificate)
    point = await p256.public(secret)
    if told["key"] != der.public_key(point):
        raise Rejected("certificate", "is for another key")
    if told["subject"] != der.name(device):
        raise Rejected("certificate", "is for another device")
    issuer = None
    for ca in identity.authorities():
        authority = der.certificate(ca)
        if authority["subject"] == told["issuer"]:
            issuer = authority["key"]
    if issuer is None:
        raise Rejected("certificate", "is of a CA that this board does not trust")
    # A CA whose key is of another kind can't be checked here; the gateway does it when the certificate is tried.
    if told["signature"] and issuer == der.public_key(issuer[-65:]):
        if not await p256.is_signed(issuer[-65:], told["signed"], *told["signature"]):
            raise Rejected("certificate", "is not signed by its CA")
    return der.element(
        der.SEQUENCE,
        der.element(der.INTEGER, b"\x01"),
        der.element(der.OCTETS, secret.to_bytes(KEY_BYTES, "big")),
        der.element(0xA0, der.element(der.OID, der.P_256)),
        der.element(0xA1, der.element(der.BITS, b"\x00", point)),
    )


def _be(agent):
    """Take the identity that is tried; the connection or the attempt that there is ends."""
    agent.connection.link.context = identity.context(agent)
    agent.connection.retry()


def _give_up(agent, reason):
    """Forget the request, tell why, and begin anew in an hour."""
    identity.forget(REQUEST)
    now = agent.clock.now()
    agent.renew_at = None if now is None else now + LATER_MS
    agent.record(topics.EVENT, {"type": "certificate.refused", "data": {"reason": reason}})
    endings.finish(agent, "renew", "failed", None, reason)


def _stored():
    """Return (secret, request) that stand, (None, None) without."""
    try:
        with open(REQUEST, "rb") as file:
            content = file.read()
    except OSError:
        return None, None
    return int.from_bytes(content[:KEY_BYTES], "big"), content[KEY_BYTES:]
