"""`fieldloom demo`: starts the system, keeps it up, proves at the end that nothing was lost."""

import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from fieldloom_runtime.errors import StartFailed
from fieldloom_sim.demo import proof
from fieldloom_sim.demo.progress import show
from fieldloom_sim.demo.system import DemoSystem

LOOK_EVERY_S = 0.5
DRAIN_S = 30.0

app = typer.Typer(help="The whole system on this machine: boards, gateway, cloud.")


class Interrupted(Exception):  # noqa: N818 - it reads as what happened
    """Somebody wants the demo to end."""


@app.command(epilog="Example: fieldloom demo --devices 5 --data /tmp/demo --seconds 60")
def demo(
    devices: Annotated[int, typer.Option(min=1, max=1000, help="How many virtual boards.")] = 20,
    gateways: Annotated[int, typer.Option(min=1, max=7, help="How many gateways.")] = 1,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the API listens, on loopback.")] = 8080,
    data: Annotated[Path, typer.Option(help="Where all data is kept, and continued by the next start.")] = Path("data"),
    seconds: Annotated[float | None, typer.Option(min=0, help="End after so many seconds; else by Ctrl-C.")] = None,
) -> None:
    """Run boards, gateway and cloud on this machine until Ctrl-C, real firmware and real brokers included."""
    screen = Console(stderr=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    with screen.status("preparing") as status:
        system = DemoSystem(data, port, lambda line: show(screen, status, line))
        try:
            started = time.monotonic()
            system.start(devices, gateways)
            show(screen, status, f"all is up after {time.monotonic() - started:.1f} s")
            _tell(screen, system, data)
            _keep(system, status, seconds)
            _end(system, status)
        except StartFailed as error:
            system.stop()
            screen.print(f"fieldloom: {error}", style="red", highlight=False, soft_wrap=True)
            raise typer.Exit(1) from None
        except Interrupted:
            status.update("stopping")
            system.stop()
            raise typer.Exit(130) from None
    verdict = proof.verdict(system)
    print(verdict)
    sys.exit(0 if verdict.is_clean else 1)


def _interrupt(*_: object) -> None:
    raise Interrupted


def _tell(screen: Console, system: DemoSystem, data: Path) -> None:
    option = "" if data == Path("data") else f" --data {data}"
    screen.print(f"API        {system.url}/api/v1, its token is in {data / 'demo.json'}", highlight=False)
    screen.print(f"console    {system.login_link()}", highlight=False, soft_wrap=True)
    again = f"fieldloom cloud login-link --data {data / 'cloud'}"
    screen.print(
        f"           opens once, within ten minutes; another link by: {again}", highlight=False, soft_wrap=True
    )
    for line in ("device list", "telemetry query --device board-1", "command send board-1 identify --wait 10"):
        screen.print(f"try        fieldloom {line}{option}", highlight=False, soft_wrap=True)
    screen.print("stop       Ctrl-C", highlight=False)


def _keep(system: DemoSystem, status: Status, seconds: float | None) -> None:
    ends = None if seconds is None else time.monotonic() + seconds
    try:
        while ends is None or time.monotonic() < ends:
            status.update(f"{len(system.boards)} boards report")
            system.keep_alive()
            time.sleep(LOOK_EVERY_S)
    except Interrupted:
        return


def _end(system: DemoSystem, status: Status) -> None:
    """Stop measuring, let the buffers drain, stop all; what does not drain in time waits on the boards' flash."""
    status.update("draining the buffers")
    proof.drain(system, DRAIN_S)
    status.update("stopping")
    system.stop()
