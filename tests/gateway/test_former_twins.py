"""What an older gateway, or one that was alone, wanted of devices goes into the map that it shares now. (R4, D2)"""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from fieldloom_contract.errors import Rejected
from fieldloom_engine.twin import Answer, Desired, Patch
from fieldloom_gateway.cluster.consensus.single import LocalConsensus
from fieldloom_gateway.cluster.node import entries_of
from fieldloom_gateway.cluster.state.errors import Conflict
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_gateway.cluster.state.store import Store as SharedStore
from fieldloom_gateway.ingest.database import FILE, open_database
from fieldloom_gateway.ingest.store import Store
from fieldloom_gateway.twins import runtime
from fieldloom_gateway.twins.deciding import Wanted
from fieldloom_gateway.twins.kept import Kept, former_twins
from gateway.site_map import OwnMap, decide

NOW = 1_790_000_000_000
OLD = Path(__file__).parent / "old"
FULL = Desired(7, {"interval": 500, "on": True, "x": 1.5}, (Answer("p-1"), Answer("p-2", "too long", 6)), is_met=True)


@pytest.fixture
def store(tmp_path):
    """The store of a gateway that had twins on a disk of version 5."""
    old = sqlite3.connect(tmp_path / FILE)
    old.executescript((OLD / "version_5.sql").read_text())
    old.executemany(
        "INSERT INTO twin_desired VALUES (?, ?, ?, ?)",
        [("heard", 3, '{"a":1}', '["p-1","p-2"]'), ("unheard", 2, "{}", "[]")],
    )
    old.execute("INSERT INTO twin_reported VALUES ('heard', 3, ?)", (json.dumps([3, {"a": 1}, {}, False]),))
    old.commit()
    old.close()
    db = open_database(tmp_path)
    yield Store(db, 10_000)
    db.close()


def last_word(folder):
    with closing(sqlite3.connect(folder / FILE)) as db:
        (body,) = db.execute("SELECT body FROM outbox ORDER BY last DESC LIMIT 1").fetchone()
    return body


def test_twins_of_an_older_disk_move_into_the_map_and_their_patches_are_known(store):
    own = OwnMap()
    store.twins.share(own)
    store.commit(store.twins.ask, "heard", Patch("p-2", {"a": 2}, Desired(2, {})), NOW)

    decide(store, own, NOW)

    assert own.desired("heard")[:2] == (3, {"a": 1})
    assert own.desired("heard").is_met
    assert own.desired("unheard") == Desired(2, {})
    assert store.twins.count() == 0


def test_one_that_joins_others_brings_what_they_do_not_have(store):
    own = OwnMap()
    store.twins.share(own)
    own.wanted["heard"] = Wanted(Desired(9, {"a": 9}), modified=1)
    own.wanted["unheard"] = Wanted(Desired(2, {"b": 1}), modified=1)

    decide(store, own, NOW)

    assert own.desired("heard")[:2] == (9, {"a": 9})
    assert own.desired("unheard")[:2] == (3, {"b": 1}), "no device of the one may take the other for its own"


class FullMap(OwnMap):
    async def write(self, device, before, after):
        raise Rejected("map", "is full")


def test_a_full_map_refuses_patches_and_what_nobody_has_asked_for_waits(store, tmp_path, monkeypatch):
    monkeypatch.setattr(runtime, "MOST", 2)
    own = FullMap()
    store.twins.share(own)
    decide(store, own, NOW)
    waiting = store.twins.count()
    monkeypatch.setattr(runtime, "MOST", 100)
    store.commit(store.twins.ask, "heard", Patch("p-9", {"a": 2}), NOW)

    decide(store, own, NOW)

    assert (waiting, store.twins.count(), store.twins.pending("heard")) == (2, 2, [])
    assert b'"patch":"p-9","error":"map: is full"' in last_word(tmp_path)


async def test_what_is_kept_comes_back_whole_and_of_two_writers_one_is_refused(tmp_path):
    machine = ReplicatedMap()
    consensus = LocalConsensus("gw.test", tmp_path, machine)
    await consensus.start()
    kept = Kept(SharedStore(consensus, machine))
    wanted = Wanted(FULL, {"gw.test": (Answer("p-1"),)})

    await kept.write("dev-1", kept.one("dev-1"), wanted)
    there = kept.one("dev-1")
    with pytest.raises(Conflict):
        await kept.write("dev-1", Wanted(), wanted)
    await consensus.stop()

    assert there == wanted._replace(modified=there.modified)
    assert (kept.version("dev-1"), kept.version("dev-2"), kept.desired("dev-2")) == (7, 0, Desired())
    assert former_twins(await entries_of("gw.test", tmp_path)) == {"dev-1": FULL}
