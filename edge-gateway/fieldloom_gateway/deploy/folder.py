"""What `fieldloom gateway init` writes: the gateway's settings and its broker's configuration."""

from pathlib import Path

from fieldloom_gateway.deploy.broker import write_broker
from fieldloom_gateway.deploy.revocation import write_first
from fieldloom_gateway.settings import FILE, Settings
from fieldloom_runtime import files


def prepare(settings: Settings, data: Path, crl: Path) -> Path:
    """Write both into a data folder, for its owner alone, and return the path of mosquitto.conf.

    `crl` is the CA's list of revoked certificates, PEM; one that is there and newer stays. Raises StartFailed.
    """
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.write(data / FILE, settings.model_dump_json(indent=2) + "\n")
    write_first(data.resolve() / "broker", crl)
    return write_broker(settings, data)
