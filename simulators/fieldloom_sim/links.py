"""The network between boards and gateways: TCP as it is, or slow, or silent, or cut, a board at a time. (F7)

One process forwards what all boards of a fleet send. It reads a request a line (JSON) on standard input, answers each
with a line on standard output, and ends when that input ends.

| request | does |
|---|---|
| `{"do": "open", "board", "host", "port"}` | answers the loopback `{"port"}` that leads this board to a gateway |
| `{"do": "latency", "board", "delay_s", "jitter_s"}` | delays what it sends and gets, and up to `jitter_s` more |
| `{"do": "lose", "board"}`, `{"do": "heal", "board"}` | lets nothing through until healed, and tells nobody |
| `{"do": "reset", "board"}` | resets its connections |
| `{"do": "status"}` | answers `{BOARD: {"connections": N, "lost": true or false}}` |
"""

import asyncio
import json
import random
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from fieldloom_sim.lines import Servant

READ_BYTES = 65536
BACKLOG = 16


class Link:
    """One board's way to its gateways."""

    def __init__(self, board: str) -> None:
        self.delay_s = 0.0
        self.jitter_s = 0.0
        self.writers: set[asyncio.StreamWriter] = set()
        self.heals = asyncio.Event()
        self.heals.set()
        self._random = random.Random(board)  # noqa: S311 - repeatable, and no secret

    def delay(self) -> float:
        """Return how long the next piece takes, in seconds."""
        return self.delay_s + self._random.random() * self.jitter_s

    def reset(self) -> None:
        """Reset every connection."""
        for writer in self.writers:
            writer.transport.abort()


class Links:
    """All boards' links."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}
        self._servers: list[asyncio.Server] = []

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request asks."""
        if request["do"] == "status":
            return {
                board: {"connections": len(link.writers) // 2, "lost": not link.heals.is_set()}
                for board, link in self._links.items()
            }
        link = self._links.setdefault(request["board"], Link(request["board"]))
        if request["do"] == "open":
            return {"port": await self._open(link, request["host"], request["port"])}
        if request["do"] == "latency":
            link.delay_s, link.jitter_s = request["delay_s"], request["jitter_s"]
        else:
            actions = {"lose": link.heals.clear, "heal": link.heals.set, "reset": link.reset}
            actions[request["do"]]()
        return {}

    async def _open(self, link: Link, host: str, port: int) -> int:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _connect(link, reader, writer, host, port)

        server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=BACKLOG)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])


async def _connect(
    link: Link, board: asyncio.StreamReader, to_board: asyncio.StreamWriter, host: str, port: int
) -> None:
    """Forward one connection of a board both ways, until either side ends it."""
    await link.heals.wait()
    try:
        gateway, to_gateway = await asyncio.open_connection(host, port)
    except OSError:  # the gateway is not there: the board sees what it would see without us
        to_board.transport.abort()
        return
    link.writers |= {to_board, to_gateway}
    try:
        await asyncio.gather(_forward(link, board, to_gateway), _forward(link, gateway, to_board))
    finally:
        link.writers -= {to_board, to_gateway}


async def _forward(link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, each piece not before the one before it."""
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=256)
    sending = asyncio.create_task(_send(link, waiting, writer))
    now = asyncio.get_running_loop().time
    with suppress(OSError):  # reset by its peer, which the other side is told as an end
        while piece := await reader.read(READ_BYTES):
            await waiting.put((now() + link.delay(), piece))
    await waiting.put((now(), b""))
    await sending


async def _send(link: Link, waiting: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    piece = b"-"
    while piece:
        due, piece = await waiting.get()
        await asyncio.sleep(due - loop.time())
        await link.heals.wait()
        if writer.is_closing():  # nobody takes it any more: what follows is thrown away, up to its end
            continue
        with suppress(OSError):
            writer.write(piece)
            await writer.drain()
    writer.close()


class Network:
    """The process that holds the links, as the simulation uses it."""

    def __init__(self, log: Path) -> None:
        self._servant = Servant("network", [sys.executable, "-m", "fieldloom_sim.links"], log)

    def open(self, board: str, host: str, port: int) -> int:
        """Return the loopback port that leads a board to a gateway."""
        return int(self._servant.ask({"do": "open", "board": board, "host": host, "port": port})["port"])

    def slow(self, board: str, delay_s: float, jitter_s: float) -> None:
        """Delay a board's traffic, each way."""
        self._servant.ask({"do": "latency", "board": board, "delay_s": delay_s, "jitter_s": jitter_s})

    def lose(self, board: str) -> None:
        """Let nothing of a board through."""
        self._servant.ask({"do": "lose", "board": board})

    def heal(self, board: str) -> None:
        """Let it through again, what has waited first."""
        self._servant.ask({"do": "heal", "board": board})

    def reset(self, board: str) -> None:
        """Reset a board's connections."""
        self._servant.ask({"do": "reset", "board": board})

    def status(self) -> dict[str, Any]:
        """Return {board: {"connections", "lost"}}."""
        return self._servant.ask({"do": "status"})

    def stop(self) -> None:
        """End the process, and all connections with it."""
        self._servant.stop()


async def _serve() -> None:
    links = Links()
    loop = asyncio.get_running_loop()
    requests = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
    while line := await requests.readline():
        answer = await links.answer(json.loads(line))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve())
