"""The faults of PySyncObj 0.3.17, each shown on the bare library and mended in ours. (D1, V4, ADR 48)

The bare library is expected to fail (xfail, strict): a release that passes one of these needs one mend less.
"""

import os
import pickle
import socket
import struct
import subprocess
import sys
import zlib
from contextlib import suppress

import pysyncobj.syncobj
import pytest
from pysyncobj.poller import createPoller
from pysyncobj.tcp_connection import TcpConnection

from cluster.cores import Bare, Ours
from fieldloom_gateway.cluster.consensus import messages, raft
from fieldloom_gateway.cluster.consensus.journal import SqliteJournal
from fieldloom_gateway.cluster.consensus.messages import Malformed
from fieldloom_gateway.cluster.consensus.outbox import Outbox
from fieldloom_runtime.errors import StartFailed

BOTH = [pytest.param(Bare, id="bare", marks=pytest.mark.xfail(strict=True)), pytest.param(Ours, id="ours")]
both = pytest.mark.parametrize("kind", BOTH)


@pytest.fixture
def begin(tmp_path):
    cores = []

    def begin_core(kind, others="bc"):
        folder = tmp_path / kind.__name__
        folder.mkdir(exist_ok=True)
        cores.append(kind(folder, others))
        return cores[-1]

    yield begin_core
    for core in cores:
        core.close()


@pytest.fixture
def clock(monkeypatch):
    """PySyncObj's clock, in a list that a test may move."""
    now = [1000.0]
    monkeypatch.setattr(pysyncobj.syncobj, "monotonicTime", lambda: now[0])
    return now


@both
def test_a_batch_that_comes_again_removes_nothing_that_was_acknowledged(begin, kind):
    core = begin(kind)
    core.append([1, 1, 1, 1])

    core.append([1, 1])

    assert core.last() == 5


@both
def test_entries_of_another_term_are_found_with_one_question(begin, kind):
    core = begin(kind)
    core.append([1] * 50)

    answer = core.append([3], after=51, term=3)

    assert (answer[0]["next_node_idx"], answer[0]["reset"]) == (2, True)


@both
def test_while_a_snapshot_comes_nothing_is_committed_that_was_not_compared(begin, kind):
    core = begin(kind)
    core.append([1, 1, 1])  # of a leader that fell before it had a majority

    piece = core.snapshot(9)[0]
    core.tell("c", {"type": "append_entries", "term": 2, "commit_index": 9, "serialized": piece, "round": 0})

    assert core.commit == 1


@both
def test_an_old_snapshot_takes_nothing_away(begin, kind):
    core = begin(kind)
    core.append([1] * 9, commit=8)
    core.tick()

    for piece in core.snapshot(4):
        core.tell("b", {"type": "append_entries", "term": 1, "commit_index": 8, "serialized": piece, "round": 0})

    assert (core.last(), core.sync.raftLastApplied) == (10, 8)


@both
def test_an_answer_to_a_former_leadership_commits_nothing(begin, kind):
    core = begin(kind)
    core.append([1, 1, 1], term=1)
    core.lead()
    index = core.last()

    core.answered("b", index, term=1)  # of a batch that a leader of term 1 had sent: other entries at the same places
    core.tick()

    assert core.commit == 1


@both
def test_a_vote_that_comes_twice_counts_once(begin, kind):
    core = begin(kind, others="bcde")
    core.sync._SyncObj__raftElectionDeadline = 0
    core.tick()
    for name in "bcde":
        core.tell(name, {"type": "backing", "term": core.term + 1, "granted": True})
    core.tick()

    for _ in range(2):
        core.tell("b", {"type": "response_vote", "term": core.term})

    assert not core.sync._isLeader()


@both
def test_a_member_that_is_cut_off_leaves_the_term_alone(begin, clock, kind):
    core = begin(kind)

    for _ in range(10):
        clock[0] += 2.0
        core.tick()

    assert core.term == 0


@both
def test_a_command_is_replicated_in_the_step_that_takes_it(begin, clock, kind):
    core = begin(kind)
    core.lead()
    core.tick()
    core.outbox.take()

    core.sync._applyCommand(b"\x00command", None)
    core.tick()

    sent = [letter.message for letter in core.outbox.take()]
    assert any(entry[0] == b"\x00command" for message in sent for entry in message.get("entries", ()))


@both
def test_a_kill_while_the_log_is_compacted_loses_nothing(begin, monkeypatch, kind):
    core = begin(kind)
    core.append([1] * 100, commit=60)
    core.tick()
    core.save()
    added = []

    def killed(*entry):
        added.append(entry)
        if len(added) > 10:
            raise KeyboardInterrupt
        return add(*entry)

    add = core.journal.add
    monkeypatch.setattr(core.journal, "add", killed)
    with suppress(KeyboardInterrupt):
        core.journal.deleteEntriesTo(50)
    core.close()
    again = begin(kind)

    assert again.last() == 101


@both
def test_a_kill_between_snapshot_and_compaction_loses_nothing(begin, kind):
    core = begin(kind)
    core.append([1] * 40, commit=20)
    core.tick()
    core.save_snapshot()
    core.close()

    again = begin(kind)
    again.tick()

    assert again.last() == 41


@both
def test_an_answer_to_an_earlier_life_is_not_taken_for_another_command(begin, kind):
    asked = []
    for _ in range(2):
        core = begin(kind)
        core.append([1], term=1)
        core.outbox.take()
        core.sync._applyCommand(b"\x00x", lambda *_: None)
        core.tick()
        asked += [one.message["request_id"] for one in core.outbox.take() if one.message["type"] == "apply_command"]
        core.save()
        core.close()

    assert len(set(asked)) == 2


@both
def test_a_restart_remembers_a_change_of_the_members_that_is_not_committed(begin, kind):
    core = begin(kind)
    entry = (core.change("add", "d"), 2, 1)
    core.append([1], entries=[entry])
    core.save()
    core.close()

    again = begin(kind)

    assert {node.id for node in again.sync.otherNodes} == {"b", "c", "d"}


@both
def test_a_commit_index_beyond_the_log_is_not_believed_at_a_start(begin, kind):
    core = begin(kind)
    core.append([1, 1])
    core.journal.setRaftCommitIndex(50)
    core.journal.setCurrentTerm(1, None)  # the bare library writes it along
    core.save()
    core.close()

    again = begin(kind)

    assert again.commit <= again.last()


@both
def test_a_damaged_vote_is_not_taken_for_none(begin, kind):
    core = begin(kind)
    core.journal.setCurrentTerm(7, "b")
    core.save()
    core.close()
    if kind is Bare:
        (core.folder / "journal.meta").write_bytes(b"")  # what a power cut leaves of a rename without a sync
    else:
        journal = SqliteJournal(core.folder / "consensus.db")
        journal._connection.execute("UPDATE kept SET value = ? WHERE name = 'term'", (b"\x93\x00\xc0\x01",))
        journal.close()

    with pytest.raises(StartFailed, match="damaged"):
        begin(kind)


class Evil:
    """A pickle that runs what it likes."""

    def __reduce__(self):
        return exec, ("import os; os.environ['PICKLE_RAN'] = 'yes'",)


def _bare_takes(body: bytes) -> None:
    here, there = socket.socketpair()
    here.setblocking(False)
    connection = TcpConnection(createPoller("select"), socket=here)
    packed = zlib.compress(body)
    there.send(struct.pack("i", len(packed)) + packed)
    connection._TcpConnection__tryReadBuffer()
    connection._TcpConnection__processParseMessage()
    connection.disconnect()
    there.close()


def _ours_takes(body: bytes) -> None:
    with pytest.raises(Malformed):
        messages.decode(body)


@pytest.mark.parametrize("take", [pytest.param(_bare_takes, marks=BOTH[0].marks), _ours_takes])
def test_what_a_peer_sends_runs_nothing(take, monkeypatch):
    monkeypatch.setenv("PICKLE_RAN", "no")

    take(pickle.dumps(Evil()))

    assert os.environ["PICKLE_RAN"] == "no"


def test_a_snapshot_vouches_for_no_entry_behind_it(begin):
    core = begin(Ours)
    core.append([1] * 9)  # of a leader that fell before it had a majority

    for piece in core.snapshot(4):
        message = {"type": "append_entries", "term": 2, "commit_index": 4, "serialized": piece, "round": 0}
        answer = core.tell("c", message)

    assert core.last() == 10
    assert (answer[-1]["success"], answer[-1]["next_node_idx"]) == (True, 5)


def test_a_leader_that_contradicts_what_is_committed_stops_the_member(begin):
    core = begin(Ours)
    core.append([1, 1, 1], commit=4)

    with pytest.raises(Exception, match="replaces entry 3, which is committed here"):
        core.append([1, 2], term=2)


def test_copies_of_earlier_terms_commit_nothing_until_one_of_this_term_is_with_a_majority(begin):
    core = begin(Ours, "bcde")
    core.append([1, 1, 1])
    core.lead()
    for name in "bcde":
        core.answered(name, 4, core.term)
    core.tick()
    before = core.commit

    core.answered("b", 5, core.term)
    core.tick()
    with_two = core.commit
    core.answered("c", 5, core.term)
    core.tick()

    assert (before, with_two, core.commit) == (1, 1, 5)


def test_a_member_that_lags_gets_all_in_messages_of_bounded_size(begin, monkeypatch):
    core = begin(Ours)
    core.append([1] * 9)
    core.lead()
    core.tick()
    core.outbox.take()
    monkeypatch.setattr(raft, "BATCH_BYTES", 9)  # three entries
    lags = {"type": "next_node_idx", "next_node_idx": 2, "reset": True, "success": False}
    core.tell("c", {**lags, "term": core.term, "round": 0})

    core.sync.beat()

    sent = [letter.message["entries"] for letter in core.outbox.take() if letter.name == "c"]
    assert [[index for _, index, _ in entries] for entries in sent] == [[2, 3, 4], [5, 6, 7], [8, 9, 10], [11]]


def test_what_no_member_is_told_of_is_sent_nowhere():
    outbox = Outbox(lambda *_: None)

    assert not outbox.send(outbox.node("z", "127.0.0.1:1"), {"type": "response_vote", "term": 1})
    assert outbox.take() == []


def test_the_sockets_of_the_process_stay_as_they_are():
    code = "import fieldloom_gateway.app, socket; print(socket.inet_ntop(socket.AF_INET6, b'\\0' * 15 + b'\\1'))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout == "::1\n"
