"""ECDSA on P-256 with SHA-256, for the one request a year that a board signs itself. (P4; FIPS 186-4, RFC 6979)

MicroPython has no such call. A multiplication takes 11 to 25 ms on the VM here and seconds on an ESP32, so it lets
other tasks go on between its steps, the one that feeds the watchdog among them. Each bit of a secret costs the same
operations; that Python's numbers take equal time is not promised.
"""

import asyncio
import hashlib
import os

from fieldloom_contract.compat import const

P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
_STEPS = const(8)  # of 256, before others have their turn


def new_secret():
    """Return a secret scalar: numbers from the hardware's generator until one is in the range."""
    while True:
        secret = int.from_bytes(os.urandom(32), "big")
        if 0 < secret < N:
            return secret


async def public(secret):
    """Return the point of a secret, uncompressed: 65 bytes."""
    x, y = _affine(await _multiply(secret, G))
    return b"\x04" + _octets(x) + _octets(y)


async def sign(secret, message):
    """Return (r, s) over the SHA-256 of a message; the nonce follows from both, so no bad random gives the key away."""
    digest = hashlib.sha256(message).digest()
    nonce = _nonce(_octets(secret), _octets(int.from_bytes(digest, "big") % N))
    r = _affine(await _multiply(nonce, G))[0] % N
    return r, _inverse(nonce, N) * (int.from_bytes(digest, "big") + r * secret) % N


async def is_signed(point, message, r, s):
    """Whether (r, s) is the signature of a message by the holder of an uncompressed point."""
    if not (0 < r < N and 0 < s < N and len(point) == 65):
        return False
    x, y = int.from_bytes(point[1:33], "big"), int.from_bytes(point[33:], "big")
    if (y * y - x * x * x + 3 * x - _B) % P:
        return False
    inverse = _inverse(s, N)
    digest = int.from_bytes(hashlib.sha256(message).digest(), "big")
    one = await _multiply(digest * inverse % N, G)
    other = await _multiply(r * inverse % N, (x, y))
    total = _add(one, other)
    return bool(total[2]) and _affine(total)[0] % N == r


_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B


async def _multiply(scalar, point):
    """Return a multiple of a point, Jacobian, by Montgomery's ladder over 256 bits whatever the scalar is."""
    scalar += N if (scalar + N) >> 256 else 2 * N
    low = (point[0], point[1], 1)
    high = _double(low)
    for bit in range(255, -1, -1):
        total = _add(low, high)
        if scalar >> bit & 1:
            low, high = total, _double(high)
        else:
            low, high = _double(low), total
        if not bit % _STEPS:
            await asyncio.sleep(0)
    return low


def _double(point):
    x, y, z = point
    delta, gamma = z * z % P, y * y % P
    beta = x * gamma % P
    alpha = 3 * (x - delta) * (x + delta) % P
    doubled = (alpha * alpha - 8 * beta) % P
    return doubled, (alpha * (4 * beta - doubled) - 8 * gamma * gamma) % P, 2 * y * z % P


def _add(one, other):
    if not one[2]:
        return other
    if not other[2]:
        return one
    square, other_square = one[2] * one[2] % P, other[2] * other[2] % P
    u, s = one[0] * other_square % P, one[1] * other[2] * other_square % P
    width = (other[0] * square - u) % P
    height = (other[1] * one[2] * square - s) % P
    if not width:
        return (1, 1, 0) if height else _double(one)
    width_2 = width * width % P
    width_3, base = width * width_2 % P, u * width_2 % P
    x = (height * height - width_3 - 2 * base) % P
    return x, (height * (base - x) - s * width_3) % P, width * one[2] * other[2] % P


def _affine(point):
    inverse = _inverse(point[2], P)
    square = inverse * inverse % P
    return point[0] * square % P, point[1] * square * inverse % P


def _inverse(number, modulus):
    return pow(number, modulus - 2, modulus)


def _octets(number):
    return number.to_bytes(32, "big")


def _nonce(secret, digest):
    """Return RFC 6979's k (section 3.2) for 32 octets of the secret and of the digest."""
    state, key = b"\x01" * 32, b"\x00" * 32
    for mark in (b"\x00", b"\x01"):
        key = _hmac(key, state + mark + secret + digest)
        state = _hmac(key, state)
    while True:
        state = _hmac(key, state)
        nonce = int.from_bytes(state, "big")
        if 0 < nonce < N:
            return nonce
        key = _hmac(key, state + b"\x00")
        state = _hmac(key, state)


def _hmac(key, message):
    """Return the HMAC-SHA-256 (RFC 2104) by a key of 32 octets."""
    inner, outer = bytes([octet ^ 0x36 for octet in key]), bytes([octet ^ 0x5C for octet in key])
    told = hashlib.sha256(inner + b"\x36" * 32 + message).digest()
    return hashlib.sha256(outer + b"\x5c" * 32 + told).digest()
