"""Opens what a power cut left of the map of a gateway that is alone, and holds it against what was answered."""

import asyncio
from pathlib import Path

from fieldloom_gateway.cluster.consensus.single import LocalConsensus
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_runtime.errors import StartFailed
from powercut.disk import State


def violations(folder: Path, state: State) -> list[str]:
    """Return what is wrong with a gateway that starts on this folder; nothing, if it kept its word."""
    try:
        machine = asyncio.run(_opened(folder))
    except StartFailed as error:
        return [f"does not open: {error}"]
    acknowledged = {f"{int(mark.words[1]):04}" for mark in state.said}
    found = machine.entries.keys("")
    wrong = [f"acknowledged and lost: {key}" for key in sorted(acknowledged - set(found))]
    wrong += [f"twice: {entry.key}" for entry in machine.entries if entry.version > 1]
    if found != [f"{number:04}" for number in range(len(found))]:
        wrong.append(f"a gap: {found}")
    return wrong


async def _opened(folder: Path) -> ReplicatedMap:
    machine = ReplicatedMap()
    consensus = LocalConsensus("gw.test", folder, machine)
    await consensus.start()
    await consensus.stop()
    return machine
