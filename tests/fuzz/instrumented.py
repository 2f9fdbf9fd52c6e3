"""One target under atheris, for `run.py`: `instrumented.py TARGET [options of libFuzzer] CORPUS`."""

import importlib
import logging
import sys
from pathlib import Path

import atheris
import structlog

# The folder of the tests in place of this one, whose files have names of everybody's.
sys.path[0] = str(Path(__file__).parents[1])

OURS = [f"fieldloom_{part}" for part in ("contract", "runtime", "engine", "gateway", "cloud")]
SEEN = [*OURS, "fuzz", "yaml"]
"""Whose branches guide the fuzzer: ours, what the targets ask of them, and the one other parser in pure Python."""

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
name = sys.argv.pop(1)
with atheris.instrument_imports(include=SEEN):
    target = importlib.import_module(f"fuzz.{name}").TARGET
atheris.Setup(sys.argv, target.try_one)
atheris.Fuzz()
