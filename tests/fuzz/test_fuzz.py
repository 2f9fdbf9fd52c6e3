"""No input crashes a parser at a boundary or takes much memory, as far as coverage leads. (C2, C5, C6, T1, P2, F5)

Longer runs: `make fuzz ARGS="--seconds 600 batches"`.
"""

import importlib
import importlib.util

import pytest

from fuzz.run import TARGETS, fuzz, tries_of

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is to be had for x86-64 Linux alone"
)


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_a_crash_once_is_refused(name):
    target = importlib.import_module(f"fuzz.{name}").TARGET

    for data in [*target.seeds, *target.crashes]:
        target.try_one(data)


@needs_atheris
def test_thirty_thousand_messages_crash_nothing(tmp_path):
    done = fuzz("messages", tmp_path, seconds=60, tries=30_000)

    assert done.returncode == 0, done.stderr
    assert tries_of(done) >= 30_000


@pytest.mark.chaos
@needs_atheris
@pytest.mark.parametrize("name", TARGETS)
def test_a_quarter_of_a_minute_of_fuzzing_finds_no_crash(tmp_path, name):
    done = fuzz(name, tmp_path, seconds=15)

    assert done.returncode == 0, done.stderr[-4000:]


@needs_atheris
def test_the_fuzzer_finds_a_fault_that_is_there(tmp_path):
    done = fuzz("planted", tmp_path, seconds=60)

    assert done.returncode != 0
    assert "planted" in done.stdout + done.stderr
