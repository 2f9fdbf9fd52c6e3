"""The model of the stream on both interpreters, and mutants that show that it can fail. (T5, V1)"""

import pytest

from contract import model
from fieldloom_contract.ranges import Ranges
from fieldloom_contract.stream import Sender
from fixtures.micropython import run_on_micropython

SEEDS = 1000
GROUP = 100


@pytest.mark.parametrize("start", range(0, SEEDS, GROUP))
def test_nothing_acknowledged_is_lost_and_all_arrives(start):
    for seed in range(start, start + GROUP):
        model.run(seed)


def test_the_same_seed_gives_the_same_trace_on_micropython():
    here = [model.run(seed) for seed in range(100)]

    there = run_on_micropython("import model\nfor seed in range(100): print(model.run(seed))")

    assert [int(line) for line in there.split()] == here


def _fails(seeds: int = 20) -> bool:
    try:
        for seed in range(seeds):
            model.run(seed)
    except AssertionError:
        return True
    return False


def test_the_model_notices_an_acknowledgement_over_a_gap(monkeypatch):
    monkeypatch.setattr(Ranges, "end", property(lambda had: had.spans[-1][1] if had.spans else 0))

    assert _fails()


def test_the_model_notices_a_receiver_that_waits_below_first(monkeypatch):
    monkeypatch.setattr(Ranges, "settle", lambda had, first: False)

    assert _fails()


def test_the_model_notices_a_refusal_taken_for_another_message(monkeypatch):
    refuse = Sender.refuse
    monkeypatch.setattr(Sender, "refuse", lambda sender, reason, refused, now: refuse(sender, reason, None, now))

    assert _fails()


def test_the_model_notices_an_acknowledgement_before_the_commit(monkeypatch):
    def forget_nothing(gateway):
        gateway.receivers = getattr(gateway, "receivers", {})
        gateway.fresh, gateway.owed = [], []

    monkeypatch.setattr(model.Gateway, "crash", forget_nothing)

    assert _fails()
