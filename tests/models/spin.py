"""Checks a Promela model by spin: every interleaving within its bounds, or the assertion that fails.

spin writes a verifier in C, gcc makes it a program, and that walks all states. Its answer counts only if the walk was
complete, so whatever cuts a search short (depth, memory, time) fails the test.
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

MODELS = Path(__file__).parents[2] / "shared" / "models"
DEPTH = 100_000
MEMORY_MB = 12_000
SECONDS = 1_500
_INCOMPLETE = ("max search depth too small", "out of memory", "reached -DMEMLIM", "Search not completed", "truncated")


@dataclass(frozen=True)
class Verdict:
    """What a search has found."""

    errors: int
    fault: str
    """The assertion, or `acceptance cycle`: a run in which what has to happen never does; empty without one."""
    states: int
    depth: int
    seconds: float
    unreached: tuple[str, ...]
    """Statements that no run came to, ends of processes apart: a model that never does what it claims to check."""

    def __str__(self) -> str:
        return f"{self.states:,} states, depth {self.depth}, {self.seconds:.1f} s"


def check(folder: Path, model: str, *defines: str, progress: bool = False) -> Verdict:
    """Search the model: its assertions and ends, and with `progress` its LTL formula too."""
    for program in ("spin", "gcc"):
        assert shutil.which(program), f"{program} is missing: run `make setup`"
    folder.mkdir(parents=True, exist_ok=True)
    given = [f"-D{define}" for define in defines]
    _run(folder, ["spin", "-a", *given, str(MODELS / model)])
    kind = [] if progress else ["-DSAFETY", "-DNOCLAIM"]
    _run(folder, ["gcc", "-w", "-O2", "-DCOLLAPSE", f"-DMEMLIM={MEMORY_MB}", *kind, "-o", "pan", "pan.c"])
    told = _run(folder, ["./pan", f"-m{DEPTH}", "-w24", *(["-a"] if progress else [])])
    assert "errors:" in told, told
    cut_short = [reason for reason in _INCOMPLETE if reason in told]
    errors = int(_figure(r"errors: (\d+)", told))
    assert errors or not cut_short, f"the search was not complete: {cut_short}\n{told}"
    fault = re.search(r"pan:1: (assertion violated|acceptance cycle|invalid end state)(.*)", told)
    return Verdict(
        errors=errors,
        fault=(fault[1] + fault[2]).strip() if fault else "",
        states=int(_figure(r"(\d+) states, stored", told)),
        depth=int(_figure(r"depth reached (\d+)", told)),
        seconds=float(_figure(r"elapsed time ([0-9.]+)", told)),
        unreached=tuple(re.findall(r'\w+\.pml:\d+, state \d+, "(?!-end-)[^\n]*', told)),
    )


def _run(folder: Path, command: list[str]) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0 or command[0] == "./pan", done.stdout + done.stderr
    return done.stdout


def _figure(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found, text
    return found[1]
