"""The end of a run and its proof: measuring stops, the buffers drain, and the store is counted. (V3)"""

import time
from dataclasses import dataclass

import httpx2

from fieldloom_engine import commands
from fieldloom_sim.demo.system import DemoSystem

LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class Verdict:
    """What a run has lost of all that a board got an acknowledgement for, and the rows beyond one a record."""

    acknowledged: int
    lost: int
    duplicated: int

    @property
    def is_clean(self) -> bool:
        """Nothing lost, nothing twice."""
        return self.lost == 0 and self.duplicated == 0

    def __str__(self) -> str:
        return f"lost={self.lost} duplicated={self.duplicated}"


def drain(system: DemoSystem, seconds: float) -> None:
    """Have every board stop measuring, and wait until all that they hold has arrived, at most so long.

    A board's stream is in order: once the cloud has the result of the pause, it has all before it.
    """
    deadline = time.monotonic() + seconds
    waiting, sent = set(system.boards), dict[str, str]()
    while time.monotonic() < deadline:
        system.keep_alive()
        try:
            waiting = {board for board in waiting if not _has_paused(system, board, sent)}
            if not waiting and _outboxes_are_empty(system):
                return
        except httpx2.TransportError:  # something is being started again
            pass
        time.sleep(LOOK_EVERY_S)


def _has_paused(system: DemoSystem, board: str, sent: dict[str, str]) -> bool:
    if board not in sent:
        body = {"type": "set_interval", "parameters": {"interval": 0}}
        answer = system.client.post(f"/api/v1/devices/{board}/commands", json=body)
        if answer.is_success:
            sent[board] = answer.json()["id"]
        return False
    status = system.client.get(f"/api/v1/commands/{sent[board]}").json()["status"]
    if status in commands.FINAL and status != commands.SUCCEEDED:
        del sent[board]  # it came too late: another one
    return bool(status == commands.SUCCEEDED)


def _outboxes_are_empty(system: DemoSystem) -> bool:
    return all(httpx2.get(url, timeout=5).json()["outbox"]["records"] == 0 for url in system.status_pages)


def verdict(system: DemoSystem) -> Verdict:
    """Compare what the boards were told with what the stopped cloud holds."""
    from fieldloom_cloud import census  # noqa: PLC0415 - it brings DuckDB, and most runs count nothing

    counted = census.take(system.data / "cloud")
    told = [
        (board, boot, seq) for board in system.fleet.names() for boot, seq in system.fleet.acknowledged(board).items()
    ]
    lost = sum(len(counted.lost((board, boot), seq)) for board, boot, seq in told)
    return Verdict(sum(seq for _, _, seq in told), lost, counted.duplicated)
