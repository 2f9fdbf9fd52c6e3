"""Three real gateways under seeded faults of processes, network, disk and clock; what their clients saw is judged.

V4, D1 to D4, D7. Where the system lets a test have network namespaces, each gateway has a network and a disk of its
own; elsewhere the faults that need these are left out, and the test says so.
"""

import random
import warnings
from pathlib import Path

import pytest

from cluster.chaos import judge, nemesis
from cluster.chaos.grounds import Loopback, Machines, NoMachines
from cluster.chaos.saboteurs import SABOTEURS
from cluster.chaos.site import Site

NAMES = ["gw.a", "gw.b", "gw.c"]
SLICE = {"clients": 1, "pause_s": 0.2, "compact": 300, "faults": []}
LONG = {"clients": 2, "pause_s": 0.05, "compact": 400, "faults": []}
FOUND = {
    "reads_without_a_majority": ([nemesis.cut, nemesis.pause], "is not linearizable"),
    "leases_outlast_their_time": ([nemesis.cut], "two owners at once"),
    "writes_take_place_again": ([nemesis.cut, nemesis.kill], "executed 2 times"),
    "watches_skip": ([nemesis.pause, nemesis.cut], "not told"),
}
"""What each saboteur is found by, and in which words."""

pytestmark = pytest.mark.filterwarnings("default:no network namespaces")  # said at the end of a run, and no failure


@pytest.fixture
def say(capsys):
    def say(line):
        with capsys.disabled():
            print(f"\n{line}")

    return say


def ground(folder: Path, seed: int):
    """Return machines of their own, or loopback with a warning that says what is not tried."""
    try:
        return Machines(folder, NAMES, random.Random(seed))
    except NoMachines as reason:
        lacks = " and ".join(sorted(Loopback.lacks))
        warnings.warn(f"no network namespaces here ({reason}): all on loopback, without {lacks}", stacklevel=2)
        return Loopback(folder, NAMES)


def run(folder: Path, seed: int, options, say, **trouble) -> judge.Notes:
    """Have a site work in trouble; return what was noted."""
    site = Site(folder, ground(folder, seed), NAMES, seed, **options)
    try:
        for name in NAMES:
            site.start(name)
        site.progress(10)
        done = nemesis.trouble(site, random.Random(seed), **trouble)
        site.rest()
    except AssertionError as error:
        path = judge.keep(site.records.notes, [str(error)], f"seed-{seed}", folder)
        error.add_note(f"the record is kept in {path}")
        raise
    finally:
        site.close()
    counts = site.records.counts
    say(
        f"seed {seed}: {counts['return']} answers, {counts['unknown']} unknown, {counts['told']} told, {' '.join(done)}"
    )
    return site.records.notes


def assert_kept(notes, seed):
    found = judge.findings(notes)
    if found:
        path = judge.keep(notes, found, f"seed-{seed}")
        pytest.fail("\n".join([*found, f"the record is kept in {path}"]))


def test_gateways_in_trouble_keep_what_they_promise(tmp_path, say):
    faults = [fault for fault in nemesis.FAULTS if fault is not nemesis.restart_all]  # which starts three more
    assert_kept(run(tmp_path, 64, SLICE, say, faults=faults, lasting=(0.3, 1.0)), 64)


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(1, 11))
def test_gateways_in_trouble_for_a_minute_keep_what_they_promise(tmp_path, seed, say):
    assert_kept(run(tmp_path, seed, LONG, say, faults=nemesis.FAULTS, lasting=(0.5, 6.0), seconds=60.0), seed)


@pytest.mark.chaos
def test_without_namespaces_they_are_tried_on_loopback_and_the_test_says_so(tmp_path, monkeypatch, say):
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no unshare

    with pytest.warns(UserWarning, match="all on loopback, without full_disk and loss"):
        notes = run(tmp_path, 65, SLICE, say, faults=nemesis.FAULTS, lasting=(0.5, 4.0))

    assert_kept(notes, 65)


@pytest.mark.chaos
@pytest.mark.parametrize("saboteur", SABOTEURS)
def test_what_gateways_could_do_wrong_is_found(tmp_path, saboteur, say):
    faults, told = FOUND[saboteur]
    found = []
    for seed in range(5):
        folder = tmp_path / str(seed)
        folder.mkdir()
        options = LONG | {"faults": [saboteur]}
        found += judge.findings(run(folder, seed, options, say, faults=faults, lasting=(3.0, 5.0), seconds=20.0))
        if any(told in one for one in found):
            return
    pytest.fail(f"no seed has found it, but {found}")
