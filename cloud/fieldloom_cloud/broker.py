"""The cloud's own broker: what is written for it, and who may do what at it. (P5, decision 7)"""

from dataclasses import replace
from pathlib import Path

from fieldloom_cloud.settings import IDENTITY, MOST_WORKERS, Settings, identity_of
from fieldloom_contract import topics
from fieldloom_runtime import files
from fieldloom_runtime.broker import CONFIGURATION, Listener, Rights, renew_rights, write
from fieldloom_runtime.door import LIST

FOLDER = "broker"
WRITES = ("up/+", "down/ack", "state", topics.RELEASE_REQUEST)
READS = ("ack", "down", topics.RELEASE_PIECE)
RIGHTS = Rights(
    (
        *(("write", topics.gateway("%u", verb)) for verb in WRITES),
        *(("read", topics.gateway("%u", verb)) for verb in READS),
    ),
    {identity_of(worker): (("readwrite", "fl/v1/g/#"),) for worker in range(1, MOST_WORKERS + 1)},
)


def prepare(data: Path, settings: Settings, ca: Path, crl: str) -> Path:
    """Write all that the broker of a data folder needs, and return the path of its mosquitto.conf."""
    folder = data / FOLDER
    folder.mkdir(exist_ok=True, mode=0o700)
    files.write(folder / LIST, crl)
    cert, key = data / "pki" / f"{IDENTITY}.pem", data / "pki" / f"{IDENTITY}.key"
    local = Listener("127.0.0.1", settings.local_port, ca, cert, key, crl=folder / LIST)
    gateways = replace(local, host=settings.mqtt_host, port=settings.mqtt_port, client_id_is_identity=True)
    return write(folder, [gateways, local], RIGHTS)


def is_here(data: Path) -> bool:
    """Whether the broker of a data folder is configured there, and not on another machine."""
    return (data / FOLDER / CONFIGURATION).exists()


def renew(data: Path) -> bool | None:
    """Bring the broker's rights to this code's version; None where they are, else whether the broker was told."""
    return renew_rights(data / FOLDER, RIGHTS)
