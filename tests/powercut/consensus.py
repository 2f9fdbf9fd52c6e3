"""What a power cut leaves of a member's journal, held against what had been said to be on the disk."""

import random
import tempfile
from functools import cache
from pathlib import Path

from fieldloom_gateway.cluster.consensus.journal import FILE, SqliteJournal
from fieldloom_runtime.errors import StartFailed
from powercut.consensus_run import SEED, STEPS, change
from powercut.disk import State


def violations(folder: Path, state: State) -> list[str]:
    """Return what is wrong with a journal; nothing, if it is as after the last batch that was written, or the next."""
    try:
        journal = SqliteJournal(folder / FILE)
    except StartFailed as error:
        return [f"does not open: {error}"]
    try:
        found = _content(journal)
    finally:
        journal.close()
    written = len(state.said)
    if found in _states()[written : written + 2]:
        return []
    return [f"acknowledged {written} batches, found {found[:4]}"]


def _content(journal: SqliteJournal) -> tuple:
    snapshot = journal.snapshot
    index = None if snapshot is None else snapshot.index
    return journal.getCurrentTerm(), journal.getVotedForNodeId(), index, len(journal), journal[:]


@cache
def _states() -> list[tuple]:
    """Return the content after each batch."""
    with tempfile.TemporaryDirectory() as folder:
        rng, journal = random.Random(SEED), SqliteJournal(Path(folder) / FILE)
        known = [_content(journal)]
        journal.begin({"a": "here:1"})
        for step in range(STEPS):
            change(journal, rng, step)
            known.append(_content(journal))
        journal.close()
    return known
