"""A parser with a fault, which the fuzzer has to find."""

from fuzz.target import Target


def parse(data: bytes) -> None:
    if len(data) > 3 and data[2] == 1 and data[3] == ord("B"):
        raise KeyError("planted")


TARGET = Target(parse, [b"FL"], (ValueError,))
