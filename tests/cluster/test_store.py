"""The replicated map as the other parts of a gateway use it, alone on its disk. (D2, V4)"""

import asyncio
import itertools
import random

import pytest

from cluster import checks
from cluster.conftest import SECONDS, Faulty, Steady, open_store
from cluster.linearizability import Map, Operation, Register, assert_linearizable
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster.consensus.port import NoLeader, Unknown
from fieldloom_gateway.cluster.state.cache import Cache
from fieldloom_gateway.cluster.state.commands import Compare, Delete, Done, Open, Set, Transaction, Unmet
from fieldloom_gateway.cluster.state.errors import Compacted, Conflict, NotAgreed


async def test_what_is_written_is_read_listed_and_deleted(store):
    index = await store.set("twin/dev-1", b"1")
    await store.set("twin/dev-2", b"2")
    await store.set("lease/dev-1", b"3")

    entry = await store.get("twin/dev-1", "linearizable")

    assert (entry.value, entry.modified, store.peek("twin/dev-1")) == (b"1", index, entry)
    assert await store.list_keys("twin/") == ["twin/dev-1", "twin/dev-2"]
    assert [one.value for one in await store.items("twin/", "linearizable")] == [b"1", b"2"]
    assert (await store.delete("twin/dev-1"), await store.delete("twin/dev-1")) == (True, False)
    assert await store.get("twin/dev-1") is None


async def test_only_one_takes_what_is_free(store):
    taken = await asyncio.gather(
        *(store.set("lease", str(number).encode(), expected=0) for number in range(5)), return_exceptions=True
    )

    won = [one for one in taken if isinstance(one, int)]
    lost = [one for one in taken if isinstance(one, Conflict)]
    assert (len(won), [one.modified for one in lost]) == (1, won * 4)
    assert str(lost[0]) == f"'lease' was changed at index {won[0]}, which is not what the command expected"


async def test_a_touch_of_what_is_gone_is_a_conflict(store):
    with pytest.raises(Conflict, match="'lease' is absent"):
        await store.touch("lease")


async def test_a_transaction_takes_place_or_tells_why_not(store):
    done = await store.transaction([], [Set("a", b"1"), Set("b", b"2")])
    unmet = await store.transaction([Compare("a", "version", 2)], [Delete("b")])

    assert (type(done), done.changed, type(unmet), unmet.key) == (Done, 2, Unmet, "a")
    assert await store.list_keys("") == ["a", "b"]


async def test_what_can_not_be_is_refused_before_it_is_proposed(store):
    index = store.index

    with pytest.raises(Rejected, match=r"operations\[0\].value: 65537 bytes are more than 65536"):
        await store.set("a", b"x" * 65537)
    with pytest.raises(Rejected, match=r"operations\[0\].holder: 'b' is absent"):
        await store.set("a", b"", holder="b")

    assert store.index - index == 2  # the session, and the one that only the map can refuse


async def test_a_command_that_some_members_do_not_know_is_not_proposed(store, monkeypatch):
    await store.set("a", b"1")
    index = store.index
    monkeypatch.setattr(Transaction, "SINCE", 2)

    with pytest.raises(NotAgreed, match="needs version 2, all members know 1: install the newer"):
        await store.set("a", b"2")

    assert store.index == index


async def test_entries_expire_unless_they_are_touched(tmp_path):
    clock = Steady()
    async with open_store(tmp_path, steady=clock, grace_s=0.0) as store:
        await store.set("short", b"", ttl_ms=2000)
        await store.set("touched", b"", ttl_ms=2000)
        watch = store.watch("")

        clock.seconds += 1.5
        await store.touch("touched")
        clock.seconds += 1.0
        gone = await asyncio.wait_for(anext(watch), SECONDS)

        assert [(one.key, one.entry, one.expired) for one in gone.changes] == [("short", None, True)]
        assert store.peek("touched").deadline == store.now - 1000 + 2000


async def test_a_new_leader_lets_live_for_a_while_what_nobody_could_touch(tmp_path):
    clock = Steady()
    async with open_store(tmp_path, steady=clock) as store:
        clock.seconds += 100
        await store.set("lease", b"", ttl_ms=2000)
    clock.seconds += 60
    async with open_store(tmp_path, steady=clock, grace_s=2.0) as store:
        watch = store.watch("")
        await asyncio.sleep(0.3)  # in which it would expire, were it not for the time of grace
        kept = store.peek("lease")
        clock.seconds += 2.0
        gone = await asyncio.wait_for(anext(watch), SECONDS)

    assert kept is not None
    assert gone.changes[0].expired


async def test_a_store_goes_on_after_a_restart(tmp_path):
    async with open_store(tmp_path) as store:
        index = await store.set("a", b"1")
        now = store.now
    async with open_store(tmp_path) as store:
        assert (store.peek("a").modified, store.index) == (index, index)
        assert store.now >= now - 1000
        await store.set("a", b"2", expected=index)
        assert store.peek("a").version == 2


class TestWatch:
    """A watch tells each change once, in order."""

    async def test_begins_where_it_was_made(self, store):
        await store.set("a/0", b"")
        watch = store.watch("a/")
        await store.set("a/1", b"")
        await store.transaction([], [Set("a/2", b""), Set("b", b""), Delete("a/0")])

        first, second = await anext(watch), await anext(watch)

        assert [one.key for one in first.changes] == ["a/1"]
        assert [(one.key, one.entry is None) for one in second.changes] == [("a/2", False), ("a/0", True)]
        assert watch.ready() == []

    async def test_goes_on_from_an_index(self, store):
        first = await store.set("a", b"1")
        await store.set("a", b"2")
        await store.set("b", b"3")

        told = [one.index for one in store.watch("", after=first).ready()]

        assert told == [first + 1, first + 2]

    async def test_a_quiet_one_is_not_left_behind(self, store):
        watch = store.watch("quiet/")
        for number in range(3):
            await store.set("loud", str(number).encode())
        with pytest.raises(Conflict):
            await store.set("loud", b"", expected=0)

        assert watch.ready() == []
        assert watch.index == store.index

    async def test_tells_when_it_is_asked_for_what_is_gone(self, tmp_path):
        async with open_store(tmp_path) as store:
            first = await store.set("a", b"1")
            await store.set("a", b"2")
            store._machine.restore(store._machine.snapshot())

            with pytest.raises(Compacted):
                await anext(store.watch("", after=first))

    async def test_tells_all_that_several_clients_change(self, store):
        watch = store.watch("k")
        seen = []

        async def listen():
            while len(seen) < 100:
                changes = await anext(watch)
                seen.extend((changes.index, one.key, one.entry.value) for one in changes.changes)

        listener = asyncio.create_task(listen())
        committed = []

        async def write(client):
            for number in range(20):
                key, value = f"k{number % 3}", f"{client}-{number}".encode()
                committed.append((await store.set(key, value), key, value))

        await asyncio.gather(*map(write, range(5)))
        await asyncio.wait_for(listener, SECONDS)

        assert checks.missed(sorted(committed), seen) == []
        assert watch.ready() == []


async def test_who_follows_gets_all_there_is_and_then_what_changes_whatever_is_compacted(store):
    await store.set("a/1", b"1")
    await store.set("b", b"")
    follow, quiet = store.follow("a/"), store.follow("c/")
    told = [await anext(follow)]
    nothing = await anext(quiet)
    await store.set("a/2", b"2")
    told.append(await anext(follow))

    await store.delete("a/1")
    await store.set("a/3", b"3")
    store._machine.restore(store._machine.snapshot())
    told.append(await anext(follow))

    assert [[(one.key, one.entry and one.entry.value) for one in changes.changes] for changes in told] == [
        [("a/1", b"1")],
        [("a/2", b"2")],
        [("a/1", None), ("a/3", b"3")],
    ]
    assert nothing.changes == ()


async def test_the_status_tells_what_is_held(store):
    await store.set("ab", b"cde")

    assert store.status() == {"index": store.index, "entries": 1, "bytes": 5, "commands": 1, "retries": 0}


async def run_client(store, name, history, rng, values, count, consistency="local"):
    """Do what clients do, and write down what came of it."""
    clock = asyncio.get_running_loop().time
    for _ in range(count):
        key = f"k{rng.randrange(3)}"
        action = rng.choice(("read", "write", "compare_and_set", "delete"))
        called = clock()
        arguments, result, returned = (), None, None
        try:
            if action == "read":
                entry = await store.get(key, consistency)
                result = entry and entry.value.decode()
            elif action == "write":
                arguments = (f"v{next(values)}",)
                await store.set(key, arguments[0].encode())
            elif action == "delete":
                await store.delete(key)
            else:
                found = store.peek(key)
                arguments = (found and found.value.decode(), f"v{next(values)}")
                expected = found.modified if found else 0
                called = clock()
                try:
                    await store.set(key, arguments[1].encode(), expected=expected)
                    result = True
                except Conflict:
                    result = False
            returned = clock()
        except NoLeader:
            continue  # it did not take place
        except Unknown:
            pass
        history.append(Operation(name, key, action, arguments, result, called, returned))


READS = ("local", "linearizable")  # alone they are the same


@pytest.mark.parametrize("seed", range(3))
async def test_what_clients_see_is_linearizable_when_answers_get_lost(tmp_path, seed):
    rng, history, values = random.Random(seed), [], itertools.count()
    async with open_store(tmp_path, lambda consensus: Faulty(consensus, rng, 0.2)) as store:
        await asyncio.gather(
            *(run_client(store, f"c{n}", history, rng, values, 40, rng.choice(READS)) for n in range(6))
        )
        retries = store.retries

    assert retries > 20
    assert len(history) == 240
    assert_linearizable(history, Register, "lost-answers")


async def test_transactions_over_several_keys_are_linearizable_when_answers_get_lost(tmp_path):
    rng, history, values = random.Random(1), [], itertools.count()
    clock = asyncio.get_running_loop().time

    async def transfer(store, client):
        for _ in range(15):
            found = {key: store.peek(key) for key in rng.sample("abc", 2)}
            compares = [Compare(key, "modified", one.modified if one else 0) for key, one in found.items()]
            writes = [(key, f"v{next(values)}") for key in found]
            expected = [(key, one and one.value.decode()) for key, one in found.items()]
            called = clock()
            outcome = await store.transaction(compares, [Set(key, value.encode()) for key, value in writes])
            arguments = (tuple(expected), tuple(writes))
            done = isinstance(outcome, Done)
            history.append(Operation(client, "", "transaction", arguments, done, called, clock()))

    async def look(store):
        for _ in range(30):
            called = clock()
            await store.get("a", "linearizable")
            values_seen = [one and one.value.decode() for one in map(store.peek, "abc")]
            history.append(Operation("reader", "", "read", tuple("abc"), values_seen, called, clock()))
            await asyncio.sleep(0.002)

    async with open_store(tmp_path, lambda consensus: Faulty(consensus, rng, 0.2)) as store:
        await asyncio.gather(look(store), *(transfer(store, f"c{number}") for number in range(4)))

    assert_linearizable(history, Map, "transfers")


async def test_a_write_goes_on_in_a_new_session_when_the_old_one_is_forgotten(store, monkeypatch):
    await store.set("a", b"1")
    monkeypatch.setattr("fieldloom_gateway.cluster.state.sessions.SESSIONS", 1)
    await store._propose(Open("other"), 0, 0, 5.0)

    await store.set("a", b"2")

    assert store.peek("a").version == 2


async def test_a_write_that_may_have_happened_in_a_forgotten_session_is_unknown(tmp_path, monkeypatch):
    rng = random.Random(0)
    monkeypatch.setattr("fieldloom_gateway.cluster.state.sessions.SESSIONS", 1)
    async with open_store(tmp_path, lambda consensus: Faulty(consensus, rng)) as store:
        await store.set("a", b"1")
        store._consensus.share = 1.0
        writing = asyncio.create_task(store.set("a", b"2"))
        await asyncio.sleep(0.1)
        store._consensus.share = 0.0
        await store._propose(Open("other"), 0, 0, 5.0)  # it is in the log before the next attempt is

        with pytest.raises(Unknown, match="has forgotten this member's session"):
            await writing


async def test_writes_that_nobody_waits_for_leave_no_trace_in_the_session(store):
    await store.set("a", b"1")
    writing = [asyncio.create_task(store.set("a", str(number).encode())) for number in range(10)]
    await asyncio.sleep(0)
    for one in writing:
        one.cancel()
    await asyncio.wait(writing)
    await store.set("a", b"last")

    sessions = store._machine._sessions.all()
    assert (len(sessions), len(sessions[0].outcomes)) == (1, 1)
    assert store.peek("a").value == b"last"


class TestCache:
    """Decoded values are kept until they change."""

    async def test_decodes_once_and_never_gives_what_is_old(self, store):
        decoded = []
        cache = Cache(store, "a/", lambda body: decoded.append(body) or int(body))

        await store.set("a/x", b"1")
        found = [cache.get("x"), cache.get("x"), cache.get("y"), cache.get("y")]
        await store.transaction([], [Set("a/x", b"2"), Set("a/y", b"3")])
        changed = [cache.get("x"), cache.get("y")]
        await store.delete("a/x")

        assert (found, changed, cache.get("x")) == ([1, 1, None, None], [2, 3], None)
        assert decoded == [b"1", b"2", b"3"]
        assert (cache.hits, cache.misses) == (2, 5)

    async def test_holds_so_many_and_for_so_long(self, store):
        clock = Steady()
        cache = Cache(store, "", int, capacity=2, ttl_s=10.0, steady=clock)
        for name in "abc":
            await store.set(name, b"1")
        for name in ("a", "b", "a", "c", "a", "b"):
            cache.get(name)
        clock.seconds += 10
        cache.get("a")

        assert (cache.hits, cache.misses) == (2, 5)

    async def test_begins_anew_when_changes_were_compacted(self, store):
        cache = Cache(store, "", int)
        await store.set("a", b"1")
        cache.get("a")
        await store.set("a", b"2")
        store._machine.restore(store._machine.snapshot())

        assert cache.get("a") == 2
