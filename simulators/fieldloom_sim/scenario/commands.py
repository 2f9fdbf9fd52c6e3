"""`fieldloom sim`: runs a fleet of virtual boards under a scenario, and shows what a scenario has in store. (F7)"""

import json
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from fieldloom_cli.errors import CommandFailed
from fieldloom_runtime.errors import StartFailed
from fieldloom_sim.demo import proof
from fieldloom_sim.demo.ports import Ports
from fieldloom_sim.demo.progress import show
from fieldloom_sim.demo.system import DemoSystem
from fieldloom_sim.fleet import Gateway
from fieldloom_sim.links import Network
from fieldloom_sim.scenario import definition, plan, table
from fieldloom_sim.scenario.definition import Scenario
from fieldloom_sim.scenario.weather import Weather

BLOW_EVERY_S = 0.05
LOOK_EVERY_S = 1.0
LINE_EVERY_S = 10.0
DRAIN_S = 60.0
DRAIN_EACH_BOARD_S = 0.2

app = typer.Typer(help="Virtual fleets under scenarios of waveforms and faults.", no_args_is_help=True)

Devices = Annotated[int, typer.Option(min=1, max=5000, help="How many virtual boards.")]
Named = Annotated[str, typer.Option(help="A YAML file, or one of ours: storm.yaml, calm.yaml.")]
Lasting = Annotated[str | None, typer.Option(help="End after so long, as 30s or 10m, instead of the scenario's own.")]
Seeded = Annotated[int | None, typer.Option(help="Draw the faults anew by this seed, instead of the scenario's own.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to standard output.")]


class Interrupted(Exception):  # noqa: N818 - it reads as what happened
    """Somebody wants the simulation to end."""


class Simulation:
    """A whole system whose boards reach their gateways through a network that can fail."""

    def __init__(self, data: Path, port: int | None, scenario: Scenario, boards: list[str], screen: Console) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.system = DemoSystem(data, port or Ports(data / "ports.json").get("api"), self._say)
        self.weather: Weather
        self._scenario = scenario
        self._boards = boards
        self._traits = plan.traits(scenario, boards)
        self._screen = screen
        self._status = screen.status("preparing")
        self._network = Network(data / "network.log")

    def start(self, gateways: int) -> None:
        """Start all of it, calm. Raises StartFailed."""
        with self._status:
            self.system.start(len(self._boards), gateways, self._outfit)
        for board, traits in self._traits.items():
            self._network.slow(board, traits.delay_s, traits.jitter_s)
        self.weather = Weather(plan.events(self._scenario, self._boards), self.system.fleet, self._network)

    def run(self) -> None:
        """Let the faults strike until the scenario ends; Ctrl-C ends it before."""
        observer = table.Observer(self.system.fleet, self._boards, self.weather)
        duration = self._scenario.duration
        begun = looked = told = time.monotonic()
        with Live(console=self._screen, auto_refresh=False, transient=True) as live, suppress(Interrupted):
            while (now := time.monotonic()) - begun < duration:
                time.sleep(BLOW_EVERY_S)
                self.weather.blow(now - begun)
                if now - looked < LOOK_EVERY_S:
                    continue
                looked = now
                look = observer.look()
                self.system.keep_alive()
                live.update(table.picture(look, self.weather, duration), refresh=True)
                if not self._screen.is_terminal and now - told >= LINE_EVERY_S:
                    told = now
                    line = table.line(look, self.weather, duration)
                    self._screen.print(line, highlight=False, soft_wrap=True)

    def end(self) -> proof.Verdict:
        """Have the weather clear, the buffers drain and all stop; return what was lost."""
        with self._status:
            self._say("the weather clears, the buffers drain")
            self.weather.clear()
            proof.drain(self.system, DRAIN_S + DRAIN_EACH_BOARD_S * len(self._boards))
            self._say("stopping")
            self.stop()
            self._say("counting")
            return proof.verdict(self.system)

    def stop(self) -> None:
        """Stop all of it."""
        self.system.stop()
        self._network.stop()

    def _outfit(self, board: str, gateways: list[Gateway]) -> dict[str, Any]:
        traits = self._traits[board]
        ways = [Gateway(one.id, "127.0.0.1", self._network.open(board, one.host, one.port)) for one in gateways]
        drivers = [form.driver(metric, traits.seed) for metric, form in self._scenario.waveforms.items()]
        interval = round(self._scenario.interval * 1000)
        return {"gateways": ways, "skew_ppm": traits.skew_ppm, "drivers": drivers, "interval": interval}

    def _say(self, text: str) -> None:
        show(self._screen, self._status, text)


@app.command(epilog="Example: fieldloom sim run --devices 200 --scenario storm.yaml --duration 2m")
def run(
    scenario: Named = "storm.yaml",
    devices: Devices = 20,
    gateways: Annotated[int, typer.Option(min=1, max=7, help="How many gateways.")] = 1,
    duration: Lasting = None,
    seed: Seeded = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Where the API listens; else a free one.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Keep all data here, and continue it; else it is thrown away.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run virtual boards with the real firmware, a gateway and the cloud under a scenario, and prove what was lost."""
    chosen, boards = _load(scenario, duration, seed), _names(devices)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    folder = data or Path(tempfile.mkdtemp(prefix="fieldloom-sim-"))
    screen = Console(stderr=True)
    simulation = Simulation(folder, port, chosen, boards, screen)
    try:
        simulation.start(gateways)
        screen.print(f"console    {simulation.system.login_link()}", highlight=False, soft_wrap=True)
        simulation.run()
        verdict = simulation.end()
    except StartFailed as error:
        simulation.stop()
        raise CommandFailed(str(error)) from None
    except Interrupted:
        simulation.stop()
        raise typer.Exit(130) from None
    told = {"boards": devices, "seed": chosen.seed, "seconds": chosen.duration, **asdict(verdict)}
    told["faults"] = dict(sorted(simulation.weather.struck.items()))
    if verdict.is_clean and data is None:
        shutil.rmtree(folder)
    else:
        screen.print(f"all data is in {folder}", highlight=False, soft_wrap=True)
    _tell(told, verdict, as_json)
    sys.exit(0 if verdict.is_clean else 1)


@app.command("plan", epilog="Example: fieldloom sim plan --devices 5 --scenario storm.yaml --duration 2m")
def show_plan(
    scenario: Named = "storm.yaml",
    devices: Devices = 20,
    duration: Lasting = None,
    seed: Seeded = None,
    as_json: AsJson = False,
) -> None:
    """Tell what will strike which board when; the same seed gives the same plan."""
    chosen, boards = _load(scenario, duration, seed), _names(devices)
    events, traits = plan.events(chosen, boards), plan.traits(chosen, boards)
    if as_json:
        told = {
            "events": [asdict(event) for event in events],
            "boards": {name: asdict(traits[name]) for name in boards},
        }
        print(json.dumps(told))
        return
    for event in events:
        print(
            f"{event.at:9.3f} s  {event.board:<12} {event.fault:<12}" + (f" {event.lasts:.3f} s" if event.lasts else "")
        )
    slow = sum(1 for one in traits.values() if one.delay_s)
    skewed = sum(1 for one in traits.values() if one.skew_ppm)
    counts = ", ".join(f"{count} {fault}" for fault, count in sorted(Counter(event.fault for event in events).items()))
    print(f"{counts or 'no faults'}; {slow} boards with a slow link, {skewed} with a wrong clock")


def _load(name: str, duration: str | None, seed: int | None) -> Scenario:
    given: dict[str, Any] = {} if seed is None else {"seed": seed}
    if duration is not None:
        try:
            given["duration"] = definition.seconds(duration)
        except ValueError as error:
            raise definition.InvalidScenario(f"--duration: {error}") from None
    return definition.load(name).model_copy(update=given)


def _names(devices: int) -> list[str]:
    return [f"board-{number}" for number in range(1, devices + 1)]


def _tell(told: dict[str, Any], verdict: proof.Verdict, as_json: bool) -> None:
    if as_json:
        print(json.dumps(told))
        return
    struck = ", ".join(f"{count} {fault}" for fault, count in told["faults"].items())
    print(f"{told['boards']} boards, seed {told['seed']}: {struck or 'no faults'}")
    print(f"{verdict.acknowledged} records acknowledged")
    print(verdict)


def _interrupt(*_: object) -> None:
    raise Interrupted
