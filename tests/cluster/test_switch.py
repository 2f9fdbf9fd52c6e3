"""The network of gateways in trouble does to packets what it is told, each direction for itself. (V4)"""

import random
import socket
import time

import pytest

from cluster.chaos.switch import Switch

ADDRESSES = {"a": "10.0.0.1", "b": "10.0.0.2"}
SENT = 100  # fewer than fill the socket of a machine that does not read
SECONDS = 40


class Network:
    """Two machines at a switch, as far as a switch sees them: what they send, packet by packet."""

    def __init__(self):
        pairs = {name: socket.socketpair(type=socket.SOCK_SEQPACKET) for name in ADDRESSES}
        self.ends = {name: ours for name, (ours, _) in pairs.items()}
        self.switch = Switch({name: its.detach() for name, (_, its) in pairs.items()}, ADDRESSES, random.Random(1))
        self.switch.start()

    def send(self, sender, receiver, number):
        header = bytes(12) + socket.inet_aton(ADDRESSES[sender]) + socket.inet_aton(ADDRESSES[receiver])
        self.ends[sender].send(header + number.to_bytes(2, "big"))

    def exchange(self, sender, receiver):
        """Send packets until the switch has disposed of all; return the numbers of those that come out, in order."""
        disposed = self.switch.dropped + self.switch.forwarded
        found = []
        self.ends[receiver].setblocking(False)
        end = time.monotonic() + SECONDS
        for number in range(SENT):
            self.send(sender, receiver, number)
            found += self._receive(receiver)
        while self.switch.dropped + self.switch.forwarded < disposed + SENT:
            assert time.monotonic() < end
            found += self._receive(receiver)
            time.sleep(0.001)
        return found + self._receive(receiver)

    def _receive(self, receiver):
        found = []
        try:
            while True:
                found.append(int.from_bytes(self.ends[receiver].recv(64)[20:], "big"))
        except BlockingIOError:
            return found


@pytest.fixture
def network():
    network = Network()
    yield network
    network.switch.stop()
    for end in network.ends.values():
        end.close()


def test_packets_come_as_they_were_sent(network):
    assert network.exchange("a", "b") == list(range(SENT))


def test_a_cut_is_of_one_direction(network):
    network.switch.wires["a", "b"].is_cut = True

    assert network.exchange("a", "b") == []
    assert network.exchange("b", "a") == list(range(SENT))


def test_some_get_lost(network):
    network.switch.wires["a", "b"].loss = 0.5

    found = network.exchange("a", "b")

    assert SENT / 4 < len(found) < SENT * 3 / 4
    assert found == sorted(found)


def test_late_packets_overtake_each_other(network):
    network.switch.wires["a", "b"].delay_s, network.switch.wires["a", "b"].jitter_s = 0.05, 0.2
    begun = time.monotonic()

    found = network.exchange("a", "b")

    assert time.monotonic() - begun > 0.05
    assert found != sorted(found) == list(range(SENT))


def test_what_is_for_nobody_is_dropped(network):
    network.ends["a"].send(bytes(40))

    assert network.exchange("a", "b") == list(range(SENT))
    assert network.switch.dropped == 1
