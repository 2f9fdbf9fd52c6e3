"""The gateway's cache of releases, what it fetches from a cloud that errs, and what a device may ask for. (F5)"""

import hashlib
import os
import random

import pytest

from fieldloom_gateway.rate import Rate
from fieldloom_gateway.releases.cache import Cache
from fieldloom_gateway.releases.fetch import Fetcher, NotFetched, Unreachable
from fieldloom_runtime.pieces import (
    INDEX,
    PIECE_BYTES,
    Entry,
    Piece,
    Unknown,
    decode_question,
    encode,
    encode_index,
)

RELEASE = "esp32-generic-1.4.0"
KIB = 1024


def entry(body):
    return Entry(hashlib.sha256(body).hexdigest(), len(body))


class Cloud:
    """Answers a fetcher's questions on the spot; `spoil` may change an answer, or swallow it by None."""

    def __init__(self, folder, files, spoil=lambda number, answer: answer):
        self.files = {**files, INDEX: encode_index({name: entry(body) for name, body in files.items()})}
        self.spoil = spoil
        self.asked = []
        self.linked = True
        self.fetcher = Fetcher(Cache(folder, 4 * KIB * KIB), self.ask)

    async def ask(self, payload):
        wanted = decode_question(payload)
        self.asked.append((wanted.file, wanted.offset))
        if self.linked and (answer := self.spoil(len(self.asked), self.answer(wanted))) is not None:
            self.fetcher.hear(answer if isinstance(answer, bytes) else encode(answer))
        return self.linked

    def answer(self, wanted):
        body = self.files.get(wanted.file)
        if wanted.release != RELEASE or body is None:
            return Unknown(wanted.release, wanted.file, "the cloud has no such file")
        data = body[wanted.offset : wanted.offset + wanted.length]
        return Piece(wanted.release, wanted.file, wanted.offset, len(body), data)


@pytest.fixture
def body():
    return random.Random(7).randbytes(3 * PIECE_BYTES + 1)


async def test_a_file_comes_in_pieces_and_an_empty_one_in_none(tmp_path, body):
    cloud = Cloud(tmp_path, {"files/a": body, "files/empty": b""})

    for file in ("files/a", "files/empty"):
        await cloud.fetcher.fetch(RELEASE, file)

    assert await cloud.fetcher.held(RELEASE, "files/a") == body
    assert await cloud.fetcher.held(RELEASE, "files/empty") == b""
    assert cloud.asked == [(INDEX, 0), *[("files/a", number * PIECE_BYTES) for number in range(4)]]


async def test_a_cut_link_costs_nothing_that_has_come(tmp_path, body):
    cloud = Cloud(tmp_path, {"files/a": body})

    def cut(number, answer):
        cloud.linked = number < 3
        return answer

    cloud.spoil = cut
    with pytest.raises(Unreachable, match="can't reach the cloud"):
        await cloud.fetcher.fetch(RELEASE, "files/a")
    after = Cloud(tmp_path, {"files/a": body})  # another process
    await after.fetcher.fetch(RELEASE, "files/a")

    assert after.asked == [("files/a", number * PIECE_BYTES) for number in (1, 2, 3)]
    assert await after.fetcher.held(RELEASE, "files/a") == body


async def test_what_comes_damaged_is_fetched_again_and_given_up_in_the_end(tmp_path, body):
    def flip(answer):
        return Piece(answer.release, answer.file, answer.offset, answer.size, answer.data[:-1] + b"?")

    once = Cloud(tmp_path / "once", {"files/a": body}, lambda number, answer: flip(answer) if number == 3 else answer)
    always = Cloud(
        tmp_path / "always", {"files/a": body}, lambda number, answer: flip(answer) if number > 1 else answer
    )

    await once.fetcher.fetch(RELEASE, "files/a")
    with pytest.raises(NotFetched, match="comes damaged from the cloud"):
        await always.fetcher.fetch(RELEASE, "files/a")

    assert await once.fetcher.held(RELEASE, "files/a") == body
    assert await always.fetcher.held(RELEASE, "files/a") is None
    assert (once.fetcher.damaged, always.fetcher.damaged) == (1, 3)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff",
        encode({"type": "piece"}),
        encode(Piece(RELEASE, "files/b", 0, 1, b"x")),  # of what nobody has asked for
        encode(Piece(RELEASE, INDEX, 7, 9, b"x")),
    ],
)
async def test_an_answer_that_is_none_says_nothing(tmp_path, monkeypatch, answer):
    monkeypatch.setattr("fieldloom_gateway.releases.fetch.ANSWER_S", 0.05)
    cloud = Cloud(tmp_path, {"files/a": b"a"}, lambda *_: answer)

    with pytest.raises(Unreachable, match="the cloud does not answer"):
        await cloud.fetcher.fetch(RELEASE, "files/a")

    assert cloud.asked == [(INDEX, 0)] * 3


async def test_an_index_or_a_file_that_contradicts_itself_is_refused(tmp_path, body):
    nonsense = Cloud(tmp_path / "nonsense", {})
    nonsense.files[INDEX] = b'{"files/a": ["../../etc/passwd", 1]}'
    longer = Cloud(tmp_path / "longer", {"files/a": body})
    longer.files["files/a"] = body + b"?"

    with pytest.raises(NotFetched, match=f"the index of {RELEASE} can't be read"):
        await nonsense.fetcher.fetch(RELEASE, "files/a")
    with pytest.raises(NotFetched, match="has changed in the cloud"):
        await longer.fetcher.fetch(RELEASE, "files/a")


async def test_a_disk_that_refuses_is_a_reason_and_no_crash(tmp_path, body):
    cloud = Cloud(tmp_path / "cache", {"files/a": body})
    await cloud.fetcher.fetch_index(RELEASE)
    (tmp_path / "cache").rename(tmp_path / "gone")

    with pytest.raises(NotFetched, match="disk refuses it"):
        await cloud.fetcher.fetch(RELEASE, "files/a")


def fill(cache, release, body):
    cache.keep_index(release, encode_index({"files/a": entry(body)}))
    cache.append(entry(body), body)
    assert cache.finish(entry(body))


def test_what_was_used_longest_ago_goes_first(tmp_path):
    cache = Cache(tmp_path, 3 * 100 * KIB + KIB)
    bodies = {f"esp32-generic-1.0.{number}": bytes([number]) * 100 * KIB for number in range(4)}
    for at, (release, body) in enumerate(list(bodies.items())[:3]):
        fill(cache, release, body)
        for place in (entry(body).sha256, f"{release}.index"):
            os.utime(tmp_path / place, (1_000_000 + at, 1_000_000 + at))
    fresh = Cache(tmp_path, 3 * 100 * KIB + KIB)
    assert fresh.read("esp32-generic-1.0.0", "files/a"), "it is used again"

    fill(fresh, "esp32-generic-1.0.3", bodies["esp32-generic-1.0.3"])

    later = Cache(tmp_path, KIB)
    assert [later.read(release, "files/a") is not None for release in bodies] == [True, False, True, True]
    assert later.size() <= 3 * 100 * KIB + KIB


def test_a_release_larger_than_the_cache_still_passes_through(tmp_path):
    cache = Cache(tmp_path, KIB)
    body = b"x" * 100 * KIB

    fill(cache, RELEASE, body)

    assert cache.content(entry(body).sha256) == body


def test_a_device_gets_its_share_a_second_and_costs_nobody_else(tmp_path):
    rate = Rate(1000)

    first = [rate.allows("dev-1", 400, 0.0) for _ in range(3)]
    other = rate.allows("dev-2", 1000, 0.0)
    later = [rate.allows("dev-1", 400, 0.5) for _ in range(2)]

    assert (first, other, later) == ([True, True, False], True, [True, False])
    assert [rate.allows(f"dev-{number}", 1, 1.0) for number in range(20_000)] == [True] * 20_000
    assert len(rate._left) <= 10_000
