"""Fuzzes parsers with the guidance of coverage: `run.py [--seconds N] [TARGET...]`, without a target all in turn.

Each runs in a process of its own, which ends with an uncaught exception, at the limit of its memory, or when one input
takes too long. The input that did it is then written into `.cache/fuzz/TARGET`; it belongs into the target's `crashes`.
"""

import argparse
import importlib
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
OTHERS = {"instrumented", "planted", "run", "target", "test_fuzz"}
TARGETS = sorted({path.stem for path in FOLDER.glob("*.py")} - OTHERS)
MAX_BYTES = 70_000
"""Of one input: more than any message may have."""
MEMORY_MB = 768
"""Of a process, its libraries included; they and what guides the fuzzer take some 200."""
INPUT_S = 10


def fuzz(name: str, folder: Path, seconds: float, tries: int = -1) -> subprocess.CompletedProcess[str]:
    """Fuzz one target for so long, or for so many tries; what it finds is left in a folder, and fails the process."""
    corpus = folder / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(importlib.import_module(f"fuzz.{name}").TARGET.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    limits = [f"-max_len={MAX_BYTES}", f"-rss_limit_mb={MEMORY_MB}", f"-timeout={INPUT_S}"]
    ends = [f"-max_total_time={seconds:.0f}", f"-runs={tries}", f"-artifact_prefix={corpus.parent}/"]
    command = [sys.executable, FOLDER / "instrumented.py", name, *limits, *ends, "-print_final_stats=1", corpus]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120, check=False)


def tries_of(done: subprocess.CompletedProcess[str]) -> int:
    """How many inputs were tried."""
    told = [line for line in done.stderr.splitlines() if line.startswith("stat::number_of_executed_units")]
    return int(told[0].split()[1]) if told else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="for each target")
    parser.add_argument("targets", nargs="*", help=", ".join(TARGETS))
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(TARGETS):
        parser.error(f"{', '.join(sorted(unknown))}: no such target, there are {', '.join(TARGETS)}")
    sys.path[0] = str(FOLDER.parent)
    failed = []
    for name in arguments.targets or TARGETS:
        done = fuzz(name, FOLDER.parents[1] / ".cache" / "fuzz", arguments.seconds)
        print(f"{name:24}{tries_of(done):>12,} tries  {'crashed' if done.returncode else 'no crash'}", flush=True)
        if done.returncode:
            print((done.stdout + done.stderr)[-6000:])
            failed.append(name)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
