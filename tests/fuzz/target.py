"""What a parser is fuzzed by: where it begins, what it may refuse with, and what has broken it before."""

from collections.abc import Callable
from typing import NamedTuple


class Target(NamedTuple):
    """One parser at a boundary. Whatever `parse` raises that is not of `refusals` is a crash."""

    parse: Callable[[bytes], object]
    seeds: list[bytes]
    """Input from which the fuzzer begins."""
    refusals: tuple[type[Exception], ...] = ()
    crashes: list[bytes] = []  # noqa: RUF012 - a default that nobody changes
    """Input that was a crash once."""

    def try_one(self, data: bytes) -> None:
        """Parse, as the side does that reads this. Raises what is a crash."""
        try:
            self.parse(data)
        except self.refusals:
            return


def chosen(parsers: list[Callable[[bytes], object]]) -> Callable[[bytes], object]:
    """Return a parser that takes the first byte as the number of the one that gets the rest."""

    def parse(data: bytes) -> object:
        return parsers[data[0] % len(parsers)](data[1:]) if data else None

    return parse


def numbered(bodies: list[list[bytes]]) -> list[bytes]:
    """Return seeds for `chosen`: a list of them a parser."""
    return [bytes([number]) + body for number, several in enumerate(bodies) for body in several]
