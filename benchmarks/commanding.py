"""From a reading to the command that a rule makes of it, beside Node-RED and aiomqtt; part of `rules.py`.

Every record is over the limit. Ours checks and numbers the record, judges it, and writes record, firing, effect and
command with fsync before the command goes out, once. Node-RED (MQTT in, switch, function, MQTT out) has each command
appended to a file and synced (fdatasync) before it sends it: a benchmark of ours has fsync on both sides or on neither
(docs/architecture.md). That is as durable as ours, though nothing is kept of the record, and what comes twice is done
twice. `node-red-volatile`, the same flow as people draw it, and the script write nothing; with `TMPDIR` on a memory
disk nobody waits for a sync, and ours may be held against these as well. Broker, devices and windows are those of
`ingest.py`.

They take short turns, so that a slow moment of the disk meets all of them or is one round of many: in each round first
all at full load, then all at the steady one, whose latency nobody's own full load precedes. Who is first is another
one each round. Told are medians of the rounds, of latency those of each round's 99th percentile and median.
"""

import json
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import ingest
import load
import msgspec
import peers
from ingest import NODE_RED, OURS

from fieldloom_contract import topics

ROUNDS = 12
VOLATILE, AIOMQTT = "node-red-volatile", "aiomqtt"
LIMIT = 20  # of the temperature, which is 21.5
RULE = {
    "id": "overheat",
    "when": {
        "and": [
            {"event_type": "device.telemetry"},
            {"property_range": {"property": "temperature", "min": LIMIT}},
        ]
    },
    "do": [{"command": {"type": "cooling", "parameters": {"event": "{{ event.id }}"}}}],
}
FLOW: list[dict[str, object]] = [
    {
        "id": "work",
        "type": "switch",
        "property": "payload.values.temperature",
        "propertyType": "msg",
        "rules": [{"t": "gte", "v": str(LIMIT), "vt": "num"}],
        "checkall": "true",
        "outputs": 1,
        "wires": [["command"]],
    },
    {
        "id": "command",
        "type": "function",
        "func": """
const device = msg.topic.split("/")[3], told = msg.payload;
const parameters = {event: `${device}/${told.boot}/${told.seq}`};
msg.topic = `fl/v1/d/${device}/command`;
msg.payload = JSON.stringify({id: parameters.event, type: "cooling", parameters, expires: told.ts + 300000});
return msg;
""",
        "outputs": 1,
        "wires": [["out"]],
    },
]
DURABLE_FLOW = [
    FLOW[0],
    {
        **FLOW[1],
        "initialize": 'context.set("file", global.get("fs").openSync("commands", "a"));',
        "func": str(FLOW[1]["func"]).replace(
            "return msg;",
            """
const fs = global.get("fs"), file = context.get("file");
fs.write(file, msg.payload + "\\n", () => fs.fdatasync(file, () => node.send(msg)));
""",
        ),
    },
]
SCRIPT = """
import asyncio, json, ssl, sys
import aiomqtt
host, port, ca, cert, key = sys.argv[1:]
async def main():
    tls = ssl.create_default_context(cafile=ca)
    tls.load_cert_chain(cert, key)
    async with aiomqtt.Client(host, int(port), identifier="aiomqtt", tls_context=tls) as client:
        await client.subscribe("fl/v1/d/+/aiomqtt")
        async for message in client.messages:
            told = json.loads(message.payload)
            if told["values"]["temperature"] >= 20:
                device = str(message.topic).split("/")[3]
                event = f"{device}/{told['boot']}/{told['seq']}"
                command = {"id": event, "type": "cooling", "parameters": {"event": event}}
                command["expires"] = told["ts"] + 300_000
                await client.publish(f"fl/v1/d/{device}/command", json.dumps(command))
asyncio.run(main())
"""


class Parameters(msgspec.Struct):
    """Which record a command follows from, as `device/boot/seq`."""

    event: str


class Command(msgspec.Struct):
    """What all of them send."""

    parameters: Parameters


decode = msgspec.json.Decoder(Command).decode


class Publisher(ingest.Publisher):
    """A device whose answer is the command; ours alone is acknowledged as well, which moves its window."""

    def __init__(self, name: str, verb: str) -> None:
        super().__init__(name, verb)
        self._is_ours = verb == topics.TELEMETRY
        self.commanded = 0

    async def connect(self, address: tuple[str, int], tls: ssl.SSLContext) -> None:
        reads = [topics.device(self.name, verb) for verb in (topics.ACK, topics.COMMAND)]
        self._client = await load.connect(self.name, address, tls, reads, self._hear)

    def _hear(self, topic: bytes, payload: bytes) -> None:
        if topic.endswith(b"/ack"):
            answer = ingest.decode(payload)
            if answer.seq is not None and answer.seq > self.acknowledged:
                self._move(answer.seq)
            return
        seq = int(decode(payload).parameters.event.rpartition("/")[2])
        self.commanded += 1
        if (published := self._published.pop(seq, None)) is not None:
            self.took_ms.append((time.perf_counter() - published) * 1000)
        if not self._is_ours and seq > self.acknowledged:
            self._move(seq)

    def _move(self, seq: int) -> None:
        self.take(seq - self.acknowledged)
        self.sent = max(self.sent, self.acknowledged)


class Bench(ingest.Bench):
    """The broker, the gateway with the rule, and its peers."""

    names = (OURS, NODE_RED, VOLATILE, AIOMQTT)

    def start_peers(self, folder: Path, local: peers.Broker) -> dict[str, subprocess.Popen[bytes]]:
        return {
            NODE_RED: peers.start_node_red(folder / NODE_RED, local, DURABLE_FLOW, datatype="json"),
            VOLATILE: peers.start_node_red(folder / VOLATILE, local, FLOW, datatype="json", verb=VOLATILE),
            AIOMQTT: peers.start_script(folder / AIOMQTT, local, SCRIPT),
        }

    def configure(self, data: Path) -> None:
        (data / "rules").mkdir()
        (data / "rules" / "overheat.yaml").write_text(json.dumps(RULE))

    def publishers(self, lane: str) -> list[ingest.Publisher]:
        verb = topics.TELEMETRY if lane == OURS else lane
        return [Publisher(f"{lane}-{number}", verb) for number in range(1, ingest.DEVICES + 1)]


async def measure(seconds: float) -> dict[str, dict[str, float]]:
    """Return by lane messages/s, and the 99th percentile and the median of ms to the command at a steady load."""
    peers.install()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        bench = Bench(Path(folder), running)
        share = seconds / ROUNDS / len(bench.names) / 2
        await bench.connect()
        order = list(bench.names)
        for _ in range(ROUNDS):
            for measured in (bench.rate, bench.latency):
                for name in order:
                    await measured(bench.lanes[name], share)
            order.append(order.pop(0))
            for name, lane in bench.lanes.items():
                took = f"p50 {lane.medians[-1]:.2f} p99 {lane.latencies[-1]:.2f} ms"
                print(f"{name:17}{lane.rates[-1]:>10,.0f} messages/s  {took}", file=sys.stderr)
        for name, lane in bench.lanes.items():
            expect_all(name, lane)
        return {name: _medians(lane) for name, lane in bench.lanes.items()}


def expect_all(name: str, lane: ingest.Lane) -> None:
    """Say when a lane did not make a command of each record."""
    commanded = sum(one.commanded for one in lane.devices if isinstance(one, Publisher))
    if commanded != ingest.answered(lane):
        print(f"{name}: {ingest.answered(lane)} records, {commanded} commands", file=sys.stderr)


def _medians(lane: ingest.Lane) -> dict[str, float]:
    return {
        "messages_per_s": round(statistics.median(lane.rates)),
        "command_latency_ms_p99": round(statistics.median(lane.latencies), 2),
        "command_latency_ms_p50": round(statistics.median(lane.medians), 2),
    }


def compared(measured: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Return what `rules.py` tells of it: figures, peers, ratios."""
    ours = measured[OURS]
    others = {name.replace("-", "_"): told for name, told in measured.items() if name != OURS}
    return {
        "figures": {**ours, "load_average": round(os.getloadavg()[0], 1)},
        "peers": others,
        "ratios": {
            f"{figure}_vs_{name}": round(value / told[figure], 2)
            for name, told in others.items()
            for figure, value in ours.items()
        },
    }
