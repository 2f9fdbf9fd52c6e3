"""A release on its way to a board, over a real cloud, gateway and brokers; the board is an MQTT client here. (F5)"""

import asyncio
import contextlib
import random
import re

import aiomqtt
import pytest

from e2e.system import System
from fieldloom_contract import messages, topics, update
from fieldloom_contract.documents import parse_manifest
from fixtures.processes import wait_for_port, wait_until_ready
from fixtures.releases import BOARD, release, zipped
from security.ground import until

ANSWER_S = 1.0
DEVICE = "dev-1"


class Board:
    """What a board does to fetch files: asks for a window, takes its chunks in order, and asks again."""

    def __init__(self, client):
        self._client = client
        self.reasons = []

    async def fetch(self, release_id, file, window=update.WINDOW_BYTES, seconds=90):
        """Return a file; `reasons` are why it was not there, each time that the gateway said so."""
        had, size = b"", None
        async with asyncio.timeout(seconds):
            while size is None or len(had) < size:
                await self.ask(release_id, file, len(had), window)
                end = len(had) + window
                while size is None or len(had) < min(end, size):
                    chunk = await self.chunk(update.place(release_id, file))
                    if chunk is None or chunk.size is None:
                        break  # and ask again
                    if chunk.offset == len(had):
                        had, size = had + bytes(chunk.data), chunk.size
        return had

    async def ask(self, release_id, file, offset=0, length=update.WINDOW_BYTES):
        await self.say(update.request(release_id, file, offset, length))

    async def say(self, payload):
        await self._client.publish(topics.device(DEVICE, topics.UPDATE_REQUEST), payload)

    async def chunk(self, place, seconds=ANSWER_S):
        """Return the next chunk of a place, None after a while."""
        try:
            async with asyncio.timeout(seconds):
                async for message in self._client.messages:
                    chunk = update.unpack_chunk(message.payload)
                    if chunk.place == place:
                        if chunk.size is None:
                            self.reasons.append(bytes(chunk.data).decode())
                            await asyncio.sleep(0.2)
                        return chunk
        except TimeoutError:
            return None

    async def fetch_all(self, release_id, **options):
        """Return all that a board fetches of a release, by name."""
        found = {name: await self.fetch(release_id, name, **options) for name in ("key", "key.sig", "manifest.sig")}
        found["manifest"] = await self.fetch(release_id, "manifest", **options)
        for entry in parse_manifest(found["manifest"]).entries:
            found[f"files/{entry.path}"] = await self.fetch(release_id, f"files/{entry.path}", **options)
        return found


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    system = System(tmp_path_factory.mktemp("releases"))
    try:
        system.enrol_device(DEVICE)
        yield system
    finally:
        system.stop()


@contextlib.asynccontextmanager
async def board(system):
    client = aiomqtt.Client(
        "127.0.0.1", system.mqtt_port, identifier=DEVICE, tls_context=system.tls(DEVICE), timeout=20
    )
    async with client:
        await client.subscribe(topics.device(DEVICE, topics.UPDATE_CHUNK))
        yield Board(client)


def upload(system, members):
    with system.api() as api:
        headers = {"Content-Type": "application/zip"}
        answer = api.post("/api/v1/releases", content=zipped(members), headers=headers)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]


def send_update(system, release_id):
    with system.api() as api:
        body = {"type": "update", "parameters": {"release": release_id}}
        answer = api.post(f"/api/v1/devices/{DEVICE}/commands", json=body)
        assert answer.status_code == 202, answer.text


def for_boards(members):
    return {name: body for name, body in members.items() if name != "sbom.cdx.json"}


def cached(system):
    """The contents of the gateway's cache that are whole, by SHA-256."""
    folder = system.folder / "gateway-1" / "releases"
    return {place.name: place for place in folder.iterdir() if not place.suffix}


def pieces(system):
    """How many pieces the cloud has sent since it started."""
    with system.api() as api:
        told = re.search(r'release_pieces_total\{outcome="piece"\} ([\d.]+)', api.get("/metrics").text)
    return int(float(told[1]))


def figures(system):
    with system.api() as api:
        return api.get(system.status_pages[0]).json()["releases"]


def restart_gateway(system):
    gateway = system.processes["gateway-1"]
    gateway.kill()
    gateway.start()
    wait_until_ready(int(system.status_pages[0].split(":")[2].split("/")[0]))


@contextlib.contextmanager
def no_cloud(system):
    """The link to the cloud is cut: its broker is away."""
    broker = system.processes["cloud-broker"]
    broker.kill()
    try:
        yield
    finally:
        broker.start()
        wait_for_port(system.cloud.mqtt_port)


async def test_a_release_reaches_a_board_byte_for_byte_and_is_fetched_from_the_cloud_once(system):
    members = release("1.0.0")
    release_id = upload(system, members)

    async with board(system) as one:
        first = await one.fetch_all(release_id)
        had = pieces(system)
        second = await one.fetch_all(release_id, window=2048)

    assert first == second == for_boards(members)
    assert pieces(system) == had, "the second time it was in the cache"


async def test_what_is_cached_is_served_without_the_cloud_even_after_kill_9(system):
    members = release("1.0.1")
    release_id = upload(system, members)
    async with board(system) as one:
        await one.fetch_all(release_id)
    with no_cloud(system):
        await asyncio.to_thread(restart_gateway, system)

        async with board(system) as one:
            found = await one.fetch_all(release_id)

    assert found == for_boards(members)


async def test_an_update_that_passes_brings_its_release_before_the_board_asks(system):
    members = release("1.0.2")
    release_id = upload(system, members)

    await asyncio.to_thread(send_update, system, release_id)

    wanted = {file["sha256"] for file in files_of(system, release_id) if file["path"] != "sbom.cdx.json"}
    await until(lambda: wanted <= set(cached(system)), seconds=60)
    with no_cloud(system):
        async with board(system) as one:
            assert await one.fetch_all(release_id) == for_boards(members)
            assert one.reasons == []


def files_of(system, release_id):
    with system.api() as api:
        return api.get(f"/api/v1/releases/{release_id}").json()["files"]


async def test_kill_9_of_the_gateway_and_a_cut_link_cost_no_more_than_the_rest(system):
    rng = random.Random(20261126)
    members = release("1.0.3", files={f"lib/part_{number}.mpy": rng.randbytes(256 * 1024) for number in range(4)})
    release_id = upload(system, members)
    had = pieces(system)

    async with board(system) as one:
        fetching = asyncio.create_task(one.fetch_all(release_id))
        await until(lambda: pieces(system) - had >= 8)
        await asyncio.to_thread(restart_gateway, system)
        await until(lambda: pieces(system) - had >= 16)
        with no_cloud(system):
            await asyncio.sleep(0)
        found = await fetching

    assert found == for_boards(members)
    whole = 5 + 4 * 8  # documents, index and four files of 256 KiB
    assert pieces(system) - had <= whole + 4, "a piece again for each cut, or two"


async def test_a_damaged_entry_is_found_by_its_hash_and_fetched_again(system):
    members = release("1.0.4")
    release_id = upload(system, members)
    async with board(system) as one:
        await one.fetch_all(release_id)
    victim = max(files_of(system, release_id), key=lambda file: file["size"])
    place = cached(system)[victim["sha256"]]
    place.write_bytes(place.read_bytes()[:-1] + b"?")
    await asyncio.to_thread(restart_gateway, system)  # what it has in memory is as it was

    async with board(system) as one:
        found = await one.fetch(release_id, victim["path"])

    assert found == members[victim["path"]]
    assert figures(system)["damaged"] == 1


async def test_what_nobody_knows_is_said_with_its_reason(system):
    release_id = upload(system, release("1.0.5"))

    async with board(system) as one:
        unknown = f"{BOARD}-7.7.7"
        for wanted, file in ((unknown, "manifest"), (release_id, "files/lib/none.mpy"), (release_id, "key.sig")):
            await one.ask(wanted, file, 0)
            assert (await one.chunk(update.place(wanted, file), 30)).size == (384 if file == "key.sig" else None)
        await one.ask(release_id, "key.sig", 385)
        assert (await one.chunk(update.place(release_id, "key.sig"), 30)).size is None
        with no_cloud(system):
            await until(lambda: not status(system)["cloud_connected"], seconds=60)
            await one.ask(unknown, "key")
            assert (await one.chunk(update.place(unknown, "key"), 30)).size is None

    assert one.reasons == [
        "the cloud has no such release",
        f"{release_id} has no such file",
        "the file has 384 bytes",
        "the gateway has not got it, and can't reach the cloud",
    ]


def status(system):
    with system.api() as api:
        return api.get(system.status_pages[0]).json()


async def test_bad_requests_go_to_the_dead_letters_and_a_flood_is_bounded(system):
    release_id = upload(system, release("1.0.6"))
    bad = [b"", b"{}", b"[]", b"\xff", messages.dumps({"release": "../..", "file": "key", "offset": 0, "length": 1})]
    bad += [update.request(release_id, file, 0, 1) for file in ("sbom.cdx.json", "files/../key", "index", "")]
    bad += [update.request(release_id, "key", *place) for place in ((-1, 1), (0, 0), (0, 2**20), (2**40, 1))]

    async with board(system) as one:
        before = status(system)
        for payload in bad:
            await one.say(payload)
        expected = before["dead_letters"] + len(bad)
        await until(lambda: status(system)["dead_letters"] == expected)
        assert status(system)["ingest"]["unreadable"] - before["ingest"].get("unreadable", 0) == len(bad)

        for _ in range(200):
            await one.ask(release_id, "key", 0)
        await until(lambda: figures(system).get("over_rate", 0) > 0)
        assert await one.fetch(release_id, "key") == release("1.0.6")["key"], "once the flood is over"
