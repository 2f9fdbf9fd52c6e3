"""A member's journal under load, to be recorded: batches, terms and votes, cuts, a snapshot; says what is on the disk.

python consensus_run.py DATA
"""

import random
import sys
from pathlib import Path

from fieldloom_gateway.cluster.consensus.journal import FILE, Snapshot, SqliteJournal
from powercut.trace import mark

SEED, STEPS = 20261127, 40


def run(data: Path) -> None:
    rng = random.Random(SEED)
    journal = SqliteJournal(data / FILE)
    journal.begin({"a": "here:1"})
    for step in range(STEPS):
        change(journal, rng, step)
        term, vote = journal.getCurrentTerm(), journal.getVotedForNodeId()
        last = journal[-1]
        journal.write(journal.take())
        mark("wrote", term, vote, last[1], last[2], journal.snapshot.index)
    journal.close()


def change(journal: SqliteJournal, rng: random.Random, step: int) -> None:
    """Do to a journal what a core may do in one step."""
    last = journal[-1][1]
    if rng.random() < 0.2:
        journal.setCurrentTerm(journal.getCurrentTerm() + 1, rng.choice([None, "a", "b"]))
    if rng.random() < 0.15 and last > journal.snapshot.index + 3:
        journal.deleteEntriesFrom(len(journal) - 2)
    if step in (15, 30):
        index = journal[-1][1] - 1
        journal.compact(Snapshot(index, journal.term_at(index), {"a": "here:1"}, b"s" * 3000), 2)
    for _ in range(rng.randint(1, 4)):
        index = journal[-1][1] + 1
        journal.add(b"\x00" + b"%d" % index * 100, index, journal.getCurrentTerm())


if __name__ == "__main__":
    run(Path(sys.argv[1]))
