"""The network between machines of a test: packets as they are, or late, out of order, lost, or cut one way. (V4)

It stands for `tc netem`, which many kernels lack: each machine's interface ends here, and TCP is the kernels' own.
"""

import os
import random
import selectors
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count

PACKET_BYTES = 65536
LOOK_S = 0.05
"""How soon a change of the faults, or the end, is noticed by a network where nobody sends."""


@dataclass
class Wire:
    """What becomes of packets from one machine to another; what is late by different times comes out of order."""

    is_cut: bool = False
    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0


class Switch:
    """Forwards packets in a thread of its own, from `start` to `stop`."""

    def __init__(self, interfaces: dict[str, int], addresses: dict[str, str], rng: random.Random) -> None:
        """`interfaces` are descriptors, and are closed with this."""
        self.wires = {(one, other): Wire() for one in interfaces for other in interfaces if one != other}
        self.dropped = self.forwarded = 0
        self._interfaces = interfaces
        self._by_address = {socket.inet_aton(address): name for name, address in addresses.items()}
        self._rng = rng
        self._late: list[tuple[float, int, str, bytes]] = []
        self._numbers = count()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._forward, name="switch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()
        for interface in self._interfaces.values():
            os.close(interface)

    def _forward(self) -> None:
        with selectors.DefaultSelector() as selector:
            for name, interface in self._interfaces.items():
                os.set_blocking(interface, False)
                selector.register(interface, selectors.EVENT_READ, name)
            while not self._is_over.is_set():
                wait = self._late[0][0] - time.monotonic() if self._late else LOOK_S
                for key, _ in selector.select(min(max(wait, 0), LOOK_S)):
                    self._take_all(key.data, key.fd)
                self._deliver()

    def _take_all(self, sender: str, interface: int) -> None:
        with suppress(BlockingIOError):
            while True:
                self._take(sender, os.read(interface, PACKET_BYTES))

    def _take(self, sender: str, packet: bytes) -> None:
        receiver = self._by_address.get(packet[16:20])  # of an IPv4 header; all else goes nowhere
        wire = self.wires.get((sender, receiver))
        if wire is None or wire.is_cut or self._rng.random() < wire.loss:
            self.dropped += 1
            return
        due = time.monotonic() + wire.delay_s + wire.jitter_s * self._rng.random()
        heappush(self._late, (due, next(self._numbers), receiver, packet))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._late and self._late[0][0] <= now:
            _, _, receiver, packet = heappop(self._late)
            try:
                os.write(self._interfaces[receiver], packet)
            except BlockingIOError:  # its queue is full: lost, as on any network
                self.dropped += 1
            else:
                self.forwarded += 1
