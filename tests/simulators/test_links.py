"""The network of a virtual fleet: a link that is slow, silent or cut loses no byte that TCP would keep. (F7)"""

import socket
import socketserver
import threading
import time
from contextlib import suppress

import pytest

from fieldloom_sim.links import Network
from fixtures.processes import free_port


@pytest.fixture
def network(tmp_path):
    network = Network(tmp_path / "network.log")
    yield network
    network.stop()
    assert "Traceback" not in (tmp_path / "network.log").read_text()


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        with suppress(ConnectionResetError):
            while data := self.request.recv(4096):
                self.request.sendall(data)


@pytest.fixture
def echo():
    """A server that sends back what it gets; returns its port."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_address[1]
        server.shutdown()


def connect(network, port, board="board-1"):
    connection = socket.create_connection(("127.0.0.1", network.open(board, "127.0.0.1", port)), timeout=20)
    connection.sendall(b"hello")
    assert connection.recv(5) == b"hello"
    return connection


def test_a_slow_link_delays_each_way_and_keeps_the_order(network, echo):
    with connect(network, echo) as connection:
        network.slow("board-1", 0.1, 0.05)
        begun = time.monotonic()
        sent = b"".join(number.to_bytes(2, "big") for number in range(5000))
        for at in range(0, len(sent), 500):
            connection.sendall(sent[at : at + 500])
        got = b""
        while len(got) < len(sent):
            got += connection.recv(4096)

        assert got == sent
        assert time.monotonic() - begun >= 0.2


def test_a_lost_link_is_silent_and_delivers_after_it_has_healed(network, echo):
    with connect(network, echo) as connection, connect(network, echo, "board-2") as other:
        network.lose("board-1")
        connection.sendall(b"into the dark")
        other.sendall(b"next door")
        assert other.recv(64) == b"next door"
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(64)
        assert network.status() == {
            "board-1": {"connections": 1, "lost": True},
            "board-2": {"connections": 1, "lost": False},
        }

        network.heal("board-1")

        connection.settimeout(20)
        assert connection.recv(64) == b"into the dark"


def test_a_reset_ends_the_connections_of_that_board_alone(network, echo):
    with connect(network, echo) as connection, connect(network, echo, "board-2") as other:
        network.reset("board-1")

        with suppress(ConnectionResetError):
            assert connection.recv(64) == b""
        other.sendall(b"still here")
        assert other.recv(64) == b"still here"


def test_a_gateway_that_is_not_there_ends_the_connection(network):
    port = network.open("board-1", "127.0.0.1", free_port())

    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection, suppress(ConnectionResetError):
        assert connection.recv(64) == b""
