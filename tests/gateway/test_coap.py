"""CoAP devices: libcoap's client over DTLS, aiocoap's over OSCORE, at the real ingest. (C3, T4)"""

import asyncio
import contextlib
import json
import random
import shutil
import socket

import aiocoap
import pytest
from aiocoap import Message
from aiocoap.blockwise import ContinueException, IncompleteException
from aiocoap.numbers import OptionNumber, codes
from aiocoap.optiontypes import OpaqueOption
from aiocoap.oscore import NotAProtectedMessage
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from pydantic import ValidationError

from fieldloom_contract import messages
from fieldloom_gateway.adapters import kept
from fieldloom_gateway.adapters.coap import blocks, endpoint
from fieldloom_gateway.adapters.coap.adapter import CoapAdapter, CoapSettings
from fieldloom_gateway.adapters.coap.oscore import Context, OscoreKey
from fieldloom_runtime.down import Credential
from fixtures.certificates import TestAuthority
from fixtures.processes import free_port
from gateway.bench import NOW, WAIT_S, Bench, until

GOOD = messages.dumps({"boot": 1, "seq": 1, "values": {"t": 21.5}}).decode()
DAY_MS = 24 * 3600 * 1000
PSK, OSCORE = "dev-1.0123456789ab", "dev-1.0a0b0c0d0e0f"
ANEW = '{"values":{"t":1}}'
SECRET = "0123456789abcdef"


class Ground(Bench):
    def __init__(self, folder, settings=None):
        folder.mkdir(exist_ok=True)
        super().__init__(folder)
        self.settings = settings or CoapSettings(protocol="coap", dtls_port=free_port(), oscore_port=free_port())
        self.adapter = CoapAdapter(self.settings, self.site(TestAuthority(folder / "pki")))
        self.add("coap", "coap", self.adapter)

    def set_up(self):
        self.issue(PSK, "psk")
        self.issue(OSCORE, "oscore")

    def issue(self, credential_id, protocol, secret=SECRET):
        self.hear(Credential(credential_id, credential_id.split(".")[0], protocol, secret.encode()))

    def records(self):
        return [record for record in super().records() if record["kind"] != "dead_letter"]

    async def command(self, command_id, parameters=None):
        """Have a command for dev-1 come down from the cloud."""
        command = {"id": command_id, "device": "dev-1", "type": "read", "parameters": parameters or {}}
        for news in self.hear({**command, "expires": NOW + DAY_MS}):
            await self.ingest.send(*news)

    def command_line(self, method, path, *arguments, user=PSK[-12:], secret=SECRET, seconds=10, scheme="coaps"):
        """What runs libcoap's client."""
        port = self.settings.dtls_port if scheme == "coaps" else self.settings.oscore_port
        keys = ["-k", secret, "-u", user] if scheme == "coaps" else []
        return [client(), "-m", method, *keys, "-B", str(seconds), *arguments, f"{scheme}://127.0.0.1:{port}{path}"]

    async def ask(self, *arguments, **options):
        """Ask by libcoap's client and return what it prints."""
        process = await asyncio.create_subprocess_exec(*self.command_line(*arguments, **options), stdout=-1, stderr=-2)
        async with asyncio.timeout(WAIT_S):
            return (await process.communicate())[0].decode().rstrip()

    @contextlib.asynccontextmanager
    async def oscore(self, folder, digits=OSCORE[-12:], secret=SECRET):
        """Give aiocoap's client, with the key of a device."""
        client = OscoreClient(folder / "client", digits, secret, self.settings.oscore_port)
        await client.connect()
        try:
            yield client
        finally:
            await client.close()


class OscoreClient:
    """Aiocoap's own client; its folder is the device's memory."""

    def __init__(self, folder, digits, secret, port):
        settings = {"sender-id_hex": digits, "recipient-id_hex": "", "secret_ascii": secret}
        folder.mkdir(exist_ok=True, parents=True)
        (folder / "settings.json").write_text(json.dumps(settings))
        self.folder, self.port = folder, port
        self.uri = f"coap://127.0.0.1:{port}"

    async def connect(self):
        self.context = await aiocoap.Context.create_client_context(transports=["oscore", "simple6"])
        self.context.client_credentials.load_from_dict({f"{self.uri}/*": {"oscore": {"basedir": str(self.folder)}}})

    async def close(self):
        await self.context.shutdown()
        self.context.client_credentials.clear()

    def request(self, code, path, payload=b"", **options):
        return self.context.request(Message(code=code, uri=self.uri + path, payload=payload, **options))

    async def post(self, path, payload):
        async with asyncio.timeout(WAIT_S):
            return await self.request(codes.POST, path, payload.encode(), content_format=50).response

    def protected(self, path, payload):
        """Return a request as an eavesdropper records it."""
        inner = Message(code=codes.POST, uri=self.uri + path, payload=payload.encode())
        inner.direction = aiocoap.message.Direction.OUTGOING
        context = next(iter(self.context.client_credentials.values()))
        return context.protect(inner)[0]

    async def say(self, protected):
        """Send a recorded request, and return the outer code of the answer."""
        message = protected.copy(mtype=aiocoap.CON, mid=random.randrange(2**16), token=random.randbytes(4))
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            await loop.sock_sendto(sender, message.encode(), ("127.0.0.1", self.port))
            async with asyncio.timeout(WAIT_S):
                while (answer := Message.decode(await loop.sock_recv(sender, 2000))).code is codes.EMPTY:
                    pass  # a slow disk: the answer comes separately (RFC 7252, 5.2.2)
            return answer.code


def client():
    found = shutil.which("coap-client-openssl")
    assert found, "coap-client-openssl is missing: run `make setup`"
    return found


@pytest.fixture
async def ground(tmp_path):
    ground = Ground(tmp_path / "gateway")
    ground.set_up()
    async with ground.running():
        yield ground


async def test_libcoaps_client_over_dtls(ground):
    assert await ground.ask("post", "/telemetry/dev-1", "-t", "50", "-e", GOOD) == ""

    assert [(one["device"], one["values"], one["seq"]) for one in ground.records()] == [("dev-1", {"t": 21.5}, 1)]
    assert (ground.adapter.metrics.acks, ground.adapter.metrics.errors) == (1, 0)


async def test_keys_and_identities_that_are_too_long_are_refused(ground):
    ground.issue("dev-3." + "f" * 12, "psk", "x" * 17)

    assert "cannot send" in await ground.ask(
        "post", "/telemetry/dev-3", "-e", GOOD, user="f" * 12, secret="x" * 17, seconds=1
    )
    assert "cannot send" in await ground.ask("post", "/telemetry/dev-3", "-e", GOOD, user="u" * 200, seconds=1)
    assert await ground.ask("post", "/telemetry/dev-1", "-e", GOOD) == ""


async def test_senml_over_dtls(ground):
    pack = '[{"bn":"urn:dev:mac:0024befffe804ff1:","bt":1790000000,"n":"t","v":21.5},{"n":"h","v":40}]'
    assert await ground.ask("post", "/telemetry/dev-1", "-t", "110", "-e", pack) == ""

    assert [(one["ts"], one["values"]) for one in ground.records()] == [(NOW, {"t": 21.5, "h": 40})]


async def test_events_and_results_over_dtls(ground):
    await ground.command("c-1")
    event = '{"type":"door.opened","data":{"by":"hand"}}'
    await ground.ask("post", "/event/dev-1", "-t", "50", "-e", event)
    waiting = json.loads(await ground.ask("get", "/command/dev-1"))
    await ground.ask("post", "/command/dev-1/result", "-e", '{"id":"c-1","status":"succeeded","result":{"value":1}}')

    assert [command["id"] for command in waiting] == ["c-1"]
    assert [(one["kind"], one.get("type") or one.get("status")) for one in ground.records()] == [
        ("event", "door.opened"),
        ("result", "succeeded"),
    ]
    assert await ground.ask("get", "/command/dev-1") == "[]"


REFUSED = [
    ("another's device", "post", "/telemetry/dev-2", ["-e", GOOD], "4.03 path: its device is not dev-1"),
    ("no device", "post", "/telemetry", ["-e", GOOD], "4.03 path"),
    ("no path", "get", "/", [], "4.03 path"),
    ("an unknown path", "post", "/state/dev-1", ["-e", GOOD], "4.04 path"),
    ("a path below", "post", "/telemetry/dev-1/more", ["-e", GOOD], "4.04 path"),
    ("a wrong method", "get", "/telemetry/dev-1", [], "4.05 method: must be POST"),
    ("a wrong method for commands", "post", "/command/dev-1", ["-e", "x"], "4.05 method: must be GET"),
    ("a wrong format", "post", "/telemetry/dev-1", ["-t", "60", "-e", GOOD], "4.15 content format"),
    ("bad SenML", "post", "/telemetry/dev-1", ["-t", "110", "-e", '[{"n":"t","v":"x"}]'], "4.00 0.v: must be a number"),
    ("another format wanted", "get", "/command/dev-1", ["-A", "60"], "4.06 accept"),
    ("an option that it must know", "post", "/telemetry/dev-1", ["-O", "2049,x", "-e", GOOD], "4.02 option 2049"),
    ("no JSON", "post", "/telemetry/dev-1", ["-e", "{nonsense"], "4.00 payload: is not JSON"),
    ("a bad value", "post", "/telemetry/dev-1", ["-e", '{"values":{"t":[1]}}'], "4.00 values.t: must be a finite"),
    (
        "a bad result",
        "post",
        "/command/dev-1/result",
        ["-e", '{"id":"c","status":"maybe"}'],
        "4.00 status: must be one",
    ),
]


async def test_what_is_refused_is_told_why(ground):
    told = {what: await ground.ask(method, path, *arguments) for what, method, path, arguments, _ in REFUSED}

    assert [what for what, *_, answer in REFUSED if not told[what].startswith(answer)] == [], told
    assert ground.records() == []
    assert ground.adapter.metrics.errors == len(REFUSED)
    assert [reason.partition(":")[0] for _, _, reason in ground.letters()] == [
        "content format",
        "0.v",
        "payload",
        "values.t",
        "status",
    ]


async def test_without_a_key_nothing_is_open(ground):
    plain = await ground.ask("post", "/telemetry/dev-1", "-e", GOOD, scheme="coap")
    links = await ground.ask("get", "/.well-known/core", scheme="coap")
    edhoc = await ground.ask("post", "/.well-known/edhoc", "-e", "x", scheme="coap")
    wrong, unknown = await asyncio.gather(
        ground.ask("post", "/telemetry/dev-1", "-e", GOOD, secret="fedcba9876543210", seconds=1),
        ground.ask("post", "/telemetry/dev-1", "-e", GOOD, user="nobody", seconds=1),
    )

    assert plain.startswith("4.01 credential: DTLS with a key, or OSCORE, is needed")
    assert links.startswith("4.01")
    assert edhoc.startswith("4.0")
    assert "cannot send CoAP pdu" in wrong
    assert "cannot send CoAP pdu" in unknown
    assert (ground.records(), ground.letters()) == ([], [])
    assert await ground.ask("post", "/telemetry/dev-1", "-e", GOOD) == ""


async def test_long_messages_come_and_go_in_blocks(ground, tmp_path):
    records = [{"boot": 1, "seq": seq, "values": {"t": seq, "note": "x" * 40}} for seq in range(1, 700)]
    body = messages.dumps(records)
    assert 60_000 < len(body) < 65_536
    (tmp_path / "body").write_bytes(body)
    (tmp_path / "long").write_bytes(body + b" " * 10_000)
    await asyncio.gather(*[ground.command(f"c-{n}", {"text": "y" * 900}) for n in range(4)])

    assert await ground.ask("post", "/telemetry/dev-1", "-f", str(tmp_path / "body")) == ""
    too_long = await ground.ask("post", "/telemetry/dev-1", "-f", str(tmp_path / "long"))
    waiting = json.loads(await ground.ask("get", "/command/dev-1"))

    assert [one["seq"] for one in ground.records()] == list(range(1, 700))
    assert too_long.startswith("4.13 payload: has more than 65536 bytes")
    assert "more than 65536" in ground.letters()[-1][2]
    assert sorted(command["id"] for command in waiting) == ["c-0", "c-1", "c-2", "c-3"]


async def test_a_full_gateway_says_so(ground, monkeypatch):
    monkeypatch.setattr(ground.store.room, "limit", 0)

    answer = await ground.ask("post", "/telemetry/dev-1", "-v", "7", "-e", GOOD)

    assert "5.03" in answer
    assert "Max-Age:10" in answer
    assert ground.records() == []


async def test_an_observer_gets_new_commands_at_once(ground):
    await ground.ask("post", "/telemetry/dev-1", "-e", GOOD)
    watching = asyncio.create_task(ground.ask("get", "/command/dev-1", "-s", "1"))
    await until(lambda: ground.adapter._site._observers)
    await ground.command("c-1")
    await ground.command("c-2", {"text": "y" * 2000})

    told = await watching

    assert told.startswith("[][")
    assert told.count('"c-1"') >= 1
    assert '"c-2"' in told
    assert ground.adapter.metrics.messages_sent == 2


async def test_a_revoked_key_ends_open_sessions_and_observations(ground, monkeypatch):
    monkeypatch.setattr("fieldloom_gateway.adapters.coap.site.LOOK_AGAIN_S", 0.2)
    watching = asyncio.create_task(ground.ask("get", "/command/dev-1", "-s", "1"))
    await until(lambda: ground.adapter._site._observers)

    ground.hear(Credential(PSK, "dev-1", "psk", b"", 0))

    await until(lambda: not ground.adapter._site._observers)
    assert "4.01 credential" in await watching
    assert ground.adapter.metrics.errors == 1


async def test_aiocoaps_client_over_oscore(ground, tmp_path):
    async with ground.oscore(tmp_path) as client:
        good = await client.post("/telemetry/dev-1", GOOD)
        foreign = await client.post("/telemetry/dev-2", GOOD)
        bad = await client.post("/telemetry/dev-1", '{"values":{}}')
        long = await client.post("/event/dev-1", json.dumps({"type": "t", "data": {"text": "x" * 3000}}))

    assert (good.code, long.code) == (codes.CHANGED, codes.CHANGED)
    assert (foreign.code, foreign.payload[:4]) == (codes.FORBIDDEN, b"path")
    assert (bad.code, bad.payload) == (codes.BAD_REQUEST, b"values: must hold 1 to 256 metrics")
    assert [one["kind"] for one in ground.records()] == ["telemetry", "event"]


async def test_nothing_recorded_is_taken_again_after_a_start_either(tmp_path):
    first = Ground(tmp_path / "gateway")
    async with first.oscore(tmp_path) as client:
        first.set_up()
        async with first.running() as ground:
            assert (await client.post("/telemetry/dev-1", ANEW)).code == codes.CHANGED
            recorded = client.protected("/telemetry/dev-1", ANEW)
            assert [await client.say(recorded), await client.say(recorded)] == [codes.CHANGED, codes.UNAUTHORIZED]
            assert len(ground.records()) == 2

        async with Ground(tmp_path / "gateway", first.settings).running() as ground:
            await client.say(recorded)
            assert len(ground.records()) == 2
            assert (await client.post("/telemetry/dev-1", ANEW)).code == codes.CHANGED
            assert len(ground.records()) == 3


async def test_another_peer_at_the_same_address(ground):
    ground.issue("dev-3.0a0a0a0a0a0a", "psk")
    port = ["-p", str(free_port())]
    watch = ground.command_line("get", "/command/dev-1", "-s", "60", *port)
    first = await asyncio.create_subprocess_exec(*watch, stdout=-3)
    await until(lambda: ground.adapter._site._observers)
    first.kill()  # it says no farewell
    await first.wait()

    for _ in range(2):  # the first attempt ends the connection of who was there
        other = await ground.ask("post", "/telemetry/dev-3", "-e", GOOD, *port, user="0a0a0a0a0a0a", seconds=2)

    assert other == ""
    assert await ground.ask("post", "/telemetry/dev-3", "-e", GOOD, *port, user="0a0a0a0a0a0a") == ""
    assert [one["device"] for one in ground.records()] == ["dev-3"]
    assert ground.adapter._site._observers == {}


async def test_oscore_with_a_wrong_key_or_of_nobody(ground, tmp_path):
    for digits, secret in ((OSCORE[-12:], "another secret.."), ("0" * 12, SECRET)):
        async with ground.oscore(tmp_path / digits, digits, secret) as client:
            with pytest.raises(NotAProtectedMessage):
                await client.post("/telemetry/dev-1", GOOD)

    assert (ground.records(), ground.letters()) == ([], [])


async def test_an_observer_over_oscore(ground, tmp_path):
    async with ground.oscore(tmp_path) as client:
        await client.post("/telemetry/dev-1", GOOD)
        request = client.request(codes.GET, "/command/dev-1", observe=0)
        told = aiter(request.observation)
        first = await request.response
        await ground.command("c-1")
        async with asyncio.timeout(WAIT_S):
            news = await anext(told)

    assert (first.payload, json.loads(news.payload)[0]["id"]) == (b"[]", "c-1")


async def test_sequence_numbers_never_come_twice(tmp_path):
    key = OscoreKey(b"0123456789abcdef", b"", b"", b"\x01")
    used = []
    for lived in (1, 250, 100, 0, 1):
        context = Context(key, tmp_path)
        used += [context.new_sequence_number() for _ in range(lived)]

    assert used == sorted(set(used))
    (tmp_path / "01.json").write_text("nonsense")
    with pytest.raises(ValueError):
        Context(key, tmp_path)


async def test_garbage_harms_nobody(ground):
    rng = random.Random(20261126)
    heads = [
        bytes([0x40, 2, 0, 1]),
        bytes([0x44, 2, 0, 2, 1, 2, 3, 4, 0x91]),
        bytes([22, 254, 253]),
        b"",
        b"\x70\0\0\0",
    ]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(1000):
            for port in (ground.settings.dtls_port, ground.settings.oscore_port):
                size = rng.choice((60, 60, 60, 2000, 60_000))
                sender.sendto(rng.choice(heads) + rng.randbytes(rng.randrange(size)), ("127.0.0.1", port))
            await asyncio.sleep(0)

    assert await ground.ask("post", "/telemetry/dev-1", "-e", GOOD) == ""
    assert len(ground.records()) == 1


async def test_a_path_that_is_no_text_is_counted_and_harms_nobody(ground, tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"\x40\x02\x00\x01\xb2\xff\xfe", ("127.0.0.1", ground.settings.oscore_port))
    await until(lambda: ground.adapter.metrics.errors == 1)

    assert await ground.ask("post", "/telemetry/%FF", "-t", "50", "-e", GOOD, seconds=1) == ""
    assert ground.adapter.metrics.errors >= 2
    assert await ground.ask("post", "/telemetry/dev-1", "-t", "50", "-e", GOOD) == ""
    counted = ground.adapter.metrics.errors

    async with ground.oscore(tmp_path) as device:
        await device.post("/telemetry/dev-1", ANEW)
        bad = Message(code=codes.POST, uri=device.uri + "/telemetry", payload=ANEW.encode())
        bad.opt.add_option(OpaqueOption(OptionNumber.URI_PATH, b"\xff\xfe"))
        bad.direction = aiocoap.message.Direction.OUTGOING
        context = next(iter(device.context.client_credentials.values()))
        assert await device.say(context.protect(bad)[0]) == codes.BAD_OPTION
        assert ground.adapter.metrics.errors == counted + 1
        assert (await device.post("/telemetry/dev-1", ANEW)).code == codes.CHANGED
    assert [one["values"]["t"] for one in ground.records()] == [21.5, 1, 1]


async def test_peers_and_repeats_that_are_remembered_are_bounded(ground, monkeypatch):
    monkeypatch.setattr(endpoint, "CONNECTIONS", 8)
    monkeypatch.setattr(endpoint, "REPEATS", 8)
    managers = [tokens.token_interface for tokens in ground.adapter._context.request_interfaces]
    for _ in range(30):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for port in (ground.settings.dtls_port, ground.settings.oscore_port):
                sender.sendto(bytes([0x40, 2, 0, 1]), ("127.0.0.1", port))
        await asyncio.sleep(0.01)

    assert len(managers[0]._recent_messages) == 8
    assert len(managers[1].message_interface._pool._connections) == 8
    assert await ground.ask("post", "/telemetry/dev-1", "-e", GOOD) == ""


async def test_a_port_that_is_taken_is_said_and_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "BACK_OFF_S", 0.05)
    ground = Ground(tmp_path / "gateway")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as squatter:
        squatter.bind(("127.0.0.1", ground.settings.dtls_port))
        running_now = asyncio.create_task(anext(ground.kept[1].groups(1)))
        await until(lambda: ground.kept[1].error is not None)
    assert "Address already in use" in ground.kept[1].error

    await until(lambda: ground.adapter.is_connected)
    running_now.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running_now
    assert ground.kept[1].error is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "lan"])
def test_a_host_that_is_no_address_is_refused(host):
    with pytest.raises(ValidationError) as refused:
        CoapSettings(protocol="coap", host=host)

    assert refused.value.errors()[0]["loc"] == ("host",)


class Blocks(RuleBasedStateMachine):
    """Uploads of several devices, their blocks in any order, against a plain account of what should become of them."""

    def __init__(self):
        super().__init__()
        self.uploads = blocks.Uploads()
        self.sent = {}
        self.now = 0.0

    @rule(device=st.sampled_from("abc"), number=st.integers(0, 3), more=st.booleans(), fill=st.binary(max_size=1))
    def block(self, device, number, more, fill):
        body = (fill or b"x") * (16 if more else 5)
        had = self.sent.pop(device, None)
        expected = body if number == 0 else None if had is None or len(had) != 16 * number else had + body
        request = Message(code=codes.POST, payload=body)
        request.opt.block1 = (number, more, 0)
        try:
            whole, _ = self.uploads.take((device, "event"), request, self.now)
            assert (more, whole) == (False, expected)
        except ContinueException:
            assert more
            self.sent[device] = expected
        except IncompleteException:
            assert expected is None

    @rule()
    def pause(self):
        self.now += blocks.PATIENCE_S
        self.sent.clear()


TestBlocks = Blocks.TestCase


@given(st.binary(min_size=1, max_size=5000), st.integers(0, 6))
def test_what_is_cut_fits_together_again(body, exponent):
    whole, number, more = b"", 0, True
    while more:
        request = Message(code=codes.GET)
        request.opt.block2 = (number, False, exponent)
        answer = blocks.cut(body, request)
        whole, more, number = whole + answer.payload, answer.opt.block2.more, number + 1

    assert whole == body


def test_uploads_are_bounded_in_number_and_size(monkeypatch):
    monkeypatch.setattr(blocks, "UPLOADS", 2)
    uploads = blocks.Uploads()

    def take(device, number, more=True):
        request = Message(code=codes.POST, payload=bytes(1024))
        request.opt.block1 = (number, more, 6)
        return uploads.take((device, "event"), request, 0.0)

    for device in "abc":
        with pytest.raises(ContinueException):
            take(device, 0)
    with pytest.raises(IncompleteException):
        take("a", 1)
    for number in range(1, 64):
        with pytest.raises(ContinueException):
            take("b", number)
    assert len(take("b", 64)[0]) == 65 * 1024
