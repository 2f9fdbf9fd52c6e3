"""The zero-loss proof: ten rounds in `make test`, two hundred in `make chaos`. (T5)"""

import pytest

from chaos.zero_loss import prove


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
