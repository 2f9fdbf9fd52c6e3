"""What one turn of the loop writes, written at once: a TLS record and a call of the system for all of it."""

import asyncio
from collections.abc import Callable

PUBLISH = 0x30
KIND = 0xF0  # the bits of a packet's first byte that tell its kind (MQTT 5, 2.1.2)


class Gathering:
    """Stands before whoever writes MQTT packets to a connection."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._gathered: list[bytes] = []

    def write(self, packet: bytes) -> None:
        """Write a message with those that come in the same turn, and any other packet at once, behind them."""
        self._gathered.append(packet)
        if packet[0] & KIND != PUBLISH:
            self._send()
        elif len(self._gathered) == 1:
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        if self._gathered:
            self._write(b"".join(self._gathered))
            self._gathered.clear()
