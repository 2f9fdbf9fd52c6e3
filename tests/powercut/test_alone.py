"""A power cut at any moment leaves a gateway that is alone what it has acknowledged of the map. (D1, D2)"""

import pytest

from powercut import alone
from powercut.disk import without_syncs
from powercut.test_power_cut import Run, Tier, recorded, replay

ALONE = Tier("alone_run.py", alone.violations, 3, "cluster.db-wal")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("alone"), ALONE)


def test_a_power_cut_loses_nothing_of_the_map_that_was_acknowledged(run, capsys):
    figures = replay(ALONE, run, every=ALONE.every)

    assert figures.wrong == ()
    assert figures.opened > 50
    with capsys.disabled():
        print(f"\n{ALONE.program}: {figures} (a sample)")


@pytest.mark.chaos
def test_no_power_cut_at_all_loses_anything_of_the_map(run):
    assert replay(ALONE, run, subsets=8).wrong == ()


def test_a_sync_that_is_missing_is_found(run):
    figures = replay(ALONE, Run(run.base, without_syncs(run.operations, {ALONE.journal})))

    assert "acknowledged and lost" in " ".join(figures.wrong) or "does not open" in " ".join(figures.wrong)
