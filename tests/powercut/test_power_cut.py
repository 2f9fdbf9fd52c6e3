"""A power cut at every moment of a recorded run: all opens, nothing acknowledged is lost, nothing is twice. (T4, T5)

`kill -9` can't show this: the page cache survives it. Here strace tells what was written and synced while records flow,
and every state that a disk may show afterwards (`disk.py`) is opened by the real code, which then takes all that a
sender would send again.
"""

import asyncio
import random
import shutil
import tempfile
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path

import pytest

from fixtures import sabotage
from powercut import cloud, cloud_run, consensus, gateway, setup
from powercut.disk import Disk, State, without_syncs
from powercut.trace import Operation, Sync, Write, record

HERE = Path(__file__).parent
SEED = 20261126
SHM = "/dev/shm"  # a sync costs nothing here
BLOCK = 2**18
"""What DuckDB writes at once of its data."""


@dataclass(frozen=True)
class Tier:
    """What is recorded and how it is checked; `every` n-th state is tried in `make test`."""

    program: str
    violations: Callable[[Path, State], list[str]]
    every: int
    journal: str
    """The file whose syncs make a commit durable."""


GATEWAY = Tier("gateway_run.py", gateway.violations, 3, "gateway.db-wal")
CLOUD = Tier("cloud_run.py", cloud.violations, 47, "telemetry.duckdb.wal")
SETUP = Tier("setup_run.py", setup.violations, 307, "")
CONSENSUS = Tier("consensus_run.py", consensus.violations, 5, "consensus.db-wal")


@dataclass(frozen=True)
class Run:
    """A recorded run: what was on the disk before it, and what it did."""

    base: Path
    operations: list[Operation]


def recorded(folder: Path, tier: Tier, *faults: str) -> Run:
    data, base = folder / "data", folder / "base"
    data.mkdir(parents=True)
    if tier is CLOUD:
        asyncio.run(cloud_run.prepare(data))
    shutil.copytree(data, base)
    return Run(base, record(HERE / tier.program, data, *faults))


@dataclass
class Figures:
    """What was tried, and what was wrong with it."""

    cuts: int = 0
    states: int = 0
    opened: int = 0
    wrong: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.cuts} cut points, {self.states} states of the disk, {self.opened} of them different and opened"


def replay(tier: Tier, run: Run, every: int = 1, subsets: int = 1, cuts: Container[int] | None = None) -> Figures:
    """Open what a cut may leave, every n-th state of it, or those of some cuts; ends with the first that is wrong."""
    figures, seen = Figures(cuts=len(run.operations)), set()
    for state in Disk(run.base, run.operations).states(random.Random(SEED), subsets, every):
        if cuts is not None and state.cut not in cuts:
            continue
        figures.states += 1
        content = hash((frozenset(state.files.items()), state.said))
        if content in seen:
            continue
        seen.add(content)
        figures.opened += 1
        with tempfile.TemporaryDirectory(dir=SHM if Path(SHM).is_dir() else None) as folder:
            for name, data in state.files.items():
                path = Path(folder) / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)
            if wrong := tier.violations(Path(folder), state):
                figures.wrong = tuple(f"after operation {state.cut}: {text}" for text in wrong)
                return figures
    return figures


@pytest.fixture(scope="module", params=[GATEWAY, CLOUD], ids=["gateway", "cloud"])
def healthy(request, tmp_path_factory):
    return request.param, recorded(tmp_path_factory.mktemp("healthy"), request.param)


def test_a_power_cut_loses_nothing_that_was_acknowledged(healthy, capsys):
    tier, run = healthy

    figures = replay(tier, run, every=tier.every)

    assert figures.wrong == ()
    assert len([one for one in run.operations if isinstance(one, Sync)]) > 30, "hardly anything was synced"
    with capsys.disabled():
        print(f"\n{tier.program}: {figures} (a sample)")


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_no_power_cut_at_all_loses_anything_that_was_acknowledged(healthy, capsys):
    tier, run = healthy

    figures = replay(tier, run, subsets=8)

    assert figures.wrong == ()
    with capsys.disabled():
        print(f"\n{tier.program}: {figures}")


def test_a_power_cut_after_cloud_init_leaves_its_keys_and_before_it_a_folder_to_begin_again(tmp_path, capsys):
    run = recorded(tmp_path, SETUP)

    figures = replay(SETUP, run, every=SETUP.every)

    assert figures.wrong == ()
    with capsys.disabled():
        print(f"\n{SETUP.program}: {figures} (a sample)")


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_no_power_cut_during_cloud_init_leaves_a_folder_that_can_not_be_begun_again(tmp_path):
    assert replay(SETUP, recorded(tmp_path, SETUP)).wrong == ()


def test_a_power_cut_leaves_a_members_journal_as_after_a_batch(tmp_path, capsys):
    run = recorded(tmp_path, CONSENSUS)

    figures = replay(CONSENSUS, run, every=CONSENSUS.every)

    assert figures.wrong == ()
    assert replay(CONSENSUS, Run(run.base, without_syncs(run.operations, {CONSENSUS.journal})), every=5).wrong
    with capsys.disabled():
        print(f"\n{CONSENSUS.program}: {figures} (a sample)")


@pytest.mark.parametrize(
    ("tier", "fault", "every"),
    [
        (GATEWAY, "gateway_acknowledges_before_commit", 31),
        (GATEWAY, "gateway_without_fsync", 31),
        (CLOUD, "cloud_acknowledges_before_commit", 1),
    ],
)
def test_an_acknowledgement_that_comes_too_early_is_found(tmp_path, tier, fault, every):
    run = recorded(tmp_path, tier, fault)

    figures = replay(tier, run, every)

    assert "acknowledged" in " ".join(figures.wrong), figures


def test_a_checkpoint_that_rewrites_blocks_in_use_is_found(tmp_path):
    run = recorded(tmp_path, CLOUD, "cloud_checkpoints_in_place")

    blocks = {at for at, one in enumerate(run.operations) if isinstance(one, Write) and len(one.data) >= BLOCK}
    figures = replay(CLOUD, run, cuts=blocks)

    assert "does not open" in " ".join(figures.wrong), figures


def test_a_missing_fsync_is_found(healthy):
    tier, run = healthy

    figures = replay(tier, Run(run.base, without_syncs(run.operations, {tier.journal})), every=7)

    assert figures.wrong, figures  # what is found first is a store that does not open


def test_a_forgotten_duplicate_is_found(healthy, monkeypatch):
    tier, run = healthy
    sabotage.apply([f"{tier.program.removesuffix('_run.py')}_forgets_duplicates"], monkeypatch.setattr)

    figures = replay(tier, run)

    assert "stored twice" in " ".join(figures.wrong), figures
