"""The stream as a model, every interleaving: nothing acknowledged is lost or twice, all arrives. (T4, T5, V1)"""

import pytest

from models.spin import check

LOST = "assertion violated ((((((stored["  # `answer`: acknowledged, and neither on a disk nor reported as dropped
TWICE = "assertion violated ((rows["  # `commit`: into the outbox of a gateway that has had it already
INNOCENT = "assertion violated (unreadable["  # `give_up`
STUCK = "acceptance cycle"  # LTL `progress`

MUTANTS = {
    "ACKNOWLEDGES_BEFORE_COMMIT": LOST,
    "ACKNOWLEDGES_OVER_GAPS": LOST,
    "FORGETS_RANGES": TWICE,
    "WAITS_BELOW_FIRST": STUCK,
    "DISCARDS_ON_SEND": LOST,
    "FIRST_OF_THE_NEWEST": LOST,
    "BELIEVES_ANY_REFUSAL": INNOCENT,
    "LIFE_USED_AGAIN": LOST,
}


def test_any_two_misfortunes_lose_nothing_and_store_nothing_twice(tmp_path, capsys):
    verdict = check(tmp_path, "stream.pml")

    assert (verdict.errors, verdict.fault) == (0, "")
    assert verdict.unreached == (), "the model has steps that never happen"
    with capsys.disabled():
        print(f"\nstream.pml, 3 records, 2 misfortunes: {verdict}")


def test_after_any_misfortune_every_record_is_stored_or_reported(tmp_path, capsys):
    verdict = check(tmp_path, "stream.pml", "MISFORTUNES=1", progress=True)

    assert (verdict.errors, verdict.fault) == (0, "")
    with capsys.disabled():
        print(f"\nstream.pml, progress, 3 records, 1 misfortune: {verdict}")


@pytest.mark.chaos
@pytest.mark.parametrize(("fault", "symptom"), MUTANTS.items())
def test_spin_finds_each_fault_that_the_stream_could_have(tmp_path, fault, symptom):
    verdict = check(tmp_path, "stream.pml", fault, progress=True)

    assert verdict.errors == 1
    assert verdict.fault.startswith(symptom), verdict.fault


LARGE = [
    (("MISFORTUNES=3",), True),
    (("MISFORTUNES=4", "RECORDS=2"), True),
    (("MISFORTUNES=2", "RECORDS=5", "WINDOW=3", "BATCH=3", "LIVES=3", "DEPTH=3"), False),
]


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("bounds", "progress"), LARGE)
def test_more_misfortunes_and_longer_streams(tmp_path, capsys, bounds, progress):
    verdict = check(tmp_path, "stream.pml", *bounds, progress=progress)

    assert (verdict.errors, verdict.fault) == (0, "")
    with capsys.disabled():
        print(f"\nstream.pml, {' '.join(bounds)}, {'progress' if progress else 'assertions'}: {verdict}")
