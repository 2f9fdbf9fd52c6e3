"""The zero-loss proof: ten rounds in `make test`, two hundred in `make chaos`. (T5)"""

import pytest

from chaos.zero_loss import find, prove


@pytest.mark.timeout(280)
def test_nothing_is_lost_over_ten_rounds_of_kills(tmp_path, capsys):
    figures = prove(tmp_path, rounds=10, seed=3)

    with capsys.disabled():
        print(f"\n10 rounds: {figures}")


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_nothing_is_lost_over_two_hundred_rounds_of_kills(tmp_path, capsys):
    figures = prove(tmp_path, rounds=200, seed=20261124)

    with capsys.disabled():
        print(f"\n200 rounds: {figures}")


FAULTS = [
    ({"gateway-1": "gateway_acknowledges_before_commit"}, "lost"),
    ({"cloud": "cloud_acknowledges_before_commit"}, "lost"),
    ({"cloud": "cloud_forgets_duplicates"}, "duplicated"),
]


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("faults", "symptom"), FAULTS)
def test_the_kills_find_a_fault_that_they_are_for(tmp_path, faults, symptom):
    assert find(tmp_path, rounds=6, seed=3, faults=faults)[symptom] > 0


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_the_kills_cannot_find_a_missing_fsync(tmp_path):
    """The page cache outlives a process: that is what tests/powercut is for."""
    found = find(tmp_path, rounds=6, seed=3, faults={"gateway-1": "gateway_without_fsync"})

    assert found == {"lost": 0, "gone": 0, "duplicated": 0}
