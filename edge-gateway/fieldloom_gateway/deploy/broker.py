"""The gateway's broker: a listener for devices, one on loopback for the gateway, rights verb by verb. (P5)"""

from pathlib import Path

from fieldloom_contract import topics
from fieldloom_gateway.deploy import identity
from fieldloom_gateway.settings import Settings
from fieldloom_runtime.broker import Listener, Rights, write
from fieldloom_runtime.door import LIST

SITE = "site/#"
"""What rules publish here all devices of the site may read; under any other name only who is given the right. (E3)"""


def write_broker(settings: Settings, data: Path) -> Path:
    """Write the configuration below a data folder and return mosquitto.conf's path. The host runs the broker."""
    folder = data.resolve() / "broker"
    own = identity.create(data)
    local = Listener("127.0.0.1", settings.local_port, own.cert, own.cert, own.key)
    devices = Listener(
        settings.mqtt_host,
        settings.mqtt_port,
        settings.ca,
        settings.cert,
        settings.key,
        tls_1_2=True,
        client_id_is_identity=True,
        crl=folder / LIST,
    )
    return write(folder, [devices, local], rights())


def rights() -> Rights:
    """Return who may do what at a gateway's broker: a device under its own name, verb by verb; all read the site's."""
    writes = [("write", topics.device("%u", verb)) for verb in topics.DEVICE_WRITES]
    reads = [("read", topics.device("%u", verb)) for verb in topics.DEVICE_READS]
    everyone = [("read", topic) for topic in (topics.DISCOVERY_REQUEST, SITE)]
    return Rights(
        patterns=(*writes, *reads, *everyone), users={identity.NAME: (("readwrite", "fl/v1/#"), ("write", "#"))}
    )
