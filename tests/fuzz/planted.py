"""A parser with a fault, which the fuzzer has to find."""

from fuzz.target import Target


def parse(data: bytes) -> None:
    if data.startswith(b"FL") and data[2:3] == b"\x01":
        raise KeyError("planted")


TARGET = Target(parse, [b"FL"], (ValueError,))
