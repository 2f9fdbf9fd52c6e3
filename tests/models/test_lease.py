"""The lease of a partition as a model, every interleaving: one owner acts, the state goes with it. (D4, D7, W8, V1)"""

import pytest

from models.spin import check

TWO_OWNERS = "assertion violated  !(((("  # `apply`: two gateways hold the lease at a moment
FOREIGN = "assertion violated (log_.owner==g)"  # `decide`: a checkpoint of one who is not the owner any more
ORPHANED = "acceptance cycle"  # LTL `progress`

MUTANTS = {
    "WAITS_TOO_SHORT": (0, TWO_OWNERS),
    "COUNTS_FROM_THE_ANSWER": (0, TWO_OWNERS),
    "TAKES_WHAT_WAS_RENEWED": (0, TWO_OWNERS),
    "REMEMBERS_ITS_LEASE": (1, TWO_OWNERS),
    "TAKES_ANY_ATTEMPT_FOR_THE_LAST": (1, TWO_OWNERS),
    "ACTS_WHILE_HANDING_OVER": (1, TWO_OWNERS),
    "RELEASES_WHAT_WAS_RENEWED": (2, TWO_OWNERS),
    "UNFENCED": (0, FOREIGN),
}


def test_whatever_befalls_at_most_one_gateway_acts_at_a_time(tmp_path, capsys):
    verdict = check(tmp_path, "lease.pml", "MISFORTUNES=1", "CHECKPOINTS=0")

    assert (verdict.errors, verdict.fault) == (0, "")
    with capsys.disabled():
        print(f"\nlease.pml, 1 misfortune: {verdict}")


def test_a_partition_whose_owner_is_dead_gets_another_who_goes_on_from_the_last_checkpoint(tmp_path, capsys):
    verdict = check(tmp_path, "lease.pml", "MISFORTUNES=1", "RENEWALS=2", "CHECKPOINTS=1", progress=True)

    assert (verdict.errors, verdict.fault) == (0, "")
    assert verdict.unreached == (), "the model has steps that never happen"
    with capsys.disabled():
        print(f"\nlease.pml, progress, 1 misfortune: {verdict}")


def test_spin_finds_that_nobody_takes_over(tmp_path):
    verdict = check(tmp_path, "lease.pml", "MISFORTUNES=1", "RENEWALS=2", "NOBODY_TAKES_OVER", progress=True)

    assert verdict.errors == 1
    assert verdict.fault.startswith(ORPHANED), verdict.fault


@pytest.mark.chaos
@pytest.mark.parametrize(("fault", "misfortunes", "symptom"), [(name, *found) for name, found in MUTANTS.items()])
def test_spin_finds_each_fault_that_a_lease_could_have(tmp_path, fault, misfortunes, symptom):
    checkpoints = 1 if symptom == FOREIGN else 0
    verdict = check(tmp_path, "lease.pml", fault, f"MISFORTUNES={misfortunes}", f"CHECKPOINTS={checkpoints}")

    assert verdict.errors == 1
    assert verdict.fault.startswith(symptom), verdict.fault


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "bounds",
    [
        ("MISFORTUNES=1",),
        ("MISFORTUNES=2",),
        ("MISFORTUNES=3", "RENEWALS=2", "CHECKPOINTS=1"),
        ("GATEWAYS=3", "MISFORTUNES=1", "CHECKPOINTS=1", "RENEWALS=2"),
    ],
)
def test_more_misfortunes_and_a_third_gateway(tmp_path, capsys, bounds):
    verdict = check(tmp_path, "lease.pml", *bounds)

    assert (verdict.errors, verdict.fault) == (0, "")
    with capsys.disabled():
        print(f"\nlease.pml, {' '.join(bounds)}: {verdict}")
