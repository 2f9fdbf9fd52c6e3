"""The journal of a member against a list in memory, through every way a core changes it. (D1, ADR 49)"""

import sqlite3
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldloom_gateway.cluster.consensus.journal import FILE, Snapshot, SqliteJournal
from fieldloom_runtime.errors import StartFailed

SHM = "/dev/shm" if Path("/dev/shm").is_dir() else None
MEMBERS = {"a": "here:1"}
ADDS = st.tuples(st.just("add"), st.integers(1, 5))
CUTS = st.tuples(st.sampled_from(["cut", "keep", "compact", "install", "term"]), st.integers(1, 8))
CHANGES = st.lists(st.lists(st.one_of(ADDS, ADDS, CUTS), max_size=4), max_size=12)


def begun(folder: Path) -> SqliteJournal:
    journal = SqliteJournal(folder / FILE)
    if journal.snapshot is None:
        journal.begin(MEMBERS)
        journal.write(journal.take())
    return journal


def change(journal: SqliteJournal, verb: str, number: int) -> None:
    """Do what a core may do; `number` says how much of it."""
    last, term = journal[-1][1], journal.getCurrentTerm()
    match verb:
        case "add":
            for index in range(last + 1, last + 1 + number):
                journal.add(b"\x00%d of %d" % (index, term), index, term)
        case "cut" if len(journal) > number:
            journal.deleteEntriesFrom(len(journal) - number)
        case "keep" if len(journal) > number:
            journal.deleteEntriesTo(number)
        case "compact" if len(journal) > number:
            index = journal[-number][1]
            journal.compact(Snapshot(index, journal.term_at(index), MEMBERS, b"state"), 2)
        case "install":
            index = max(last - 4 + number, journal.snapshot.index + 1)
            journal.install(Snapshot(index, term, MEMBERS, b"of another"))
        case "term":
            journal.setCurrentTerm(term + number, "b")


def content(journal: SqliteJournal) -> tuple:
    return journal[:], journal.size, journal.snapshot, journal.getCurrentTerm(), journal.getVotedForNodeId()


@settings(max_examples=50, deadline=None)
@given(CHANGES)
def test_what_was_written_is_what_is_read(batches):
    with TemporaryDirectory(dir=SHM) as folder:
        journal = begun(Path(folder))
        for batch in batches:
            for verb, number in batch:
                change(journal, verb, number)
            if journal.is_dirty:
                journal.write(journal.take())
            known = content(journal)
            journal.close()
            journal = SqliteJournal(Path(folder) / FILE)

            assert content(journal) == known
        journal.close()


def test_a_batch_that_is_written_again_is_there_once(tmp_path):
    journal = begun(tmp_path)
    change(journal, "add", 3)
    batch = journal.take()

    journal.write(batch)
    journal.write(batch)

    known = content(journal)
    journal.close()
    again = SqliteJournal(tmp_path / FILE)
    assert content(again) == known
    again.close()


def test_a_journal_that_is_in_use_is_not_opened(tmp_path):
    journal = begun(tmp_path)

    with pytest.raises(StartFailed, match="in use"):
        SqliteJournal(tmp_path / FILE)

    journal.close()


def test_the_journal_of_an_older_gateway_is_taken_over(tmp_path):
    first, rows = begun(tmp_path), [(2, 1, b"\x00old"), (3, 1, b"\x00er")]
    first.close()
    with sqlite3.connect(tmp_path / FILE) as old:
        old.execute("CREATE TABLE entries (number INTEGER PRIMARY KEY, term INTEGER, command BLOB, checksum INTEGER)")
        for number, term, command in [(1, 0, b"\x01"), *rows]:
            checksum = crc32(command, crc32(b"%d %d" % (number, term)))
            old.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", (number, term, command, checksum))
        old.execute("DROP TABLE batches")
        old.execute("PRAGMA user_version = 1")
    old.close()

    journal = SqliteJournal(tmp_path / FILE)

    assert journal[:] == [(b"\x01", 1, 0), *((command, number, term) for number, term, command in rows)]
    journal.close()
