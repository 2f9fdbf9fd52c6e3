"""What `fieldloom gateway init` writes: the gateway's settings and its broker's configuration."""

from pathlib import Path

from fieldloom_gateway.deploy.broker import write_broker
from fieldloom_gateway.settings import FILE, Settings
from fieldloom_runtime import files


def prepare(settings: Settings, data: Path) -> Path:
    """Write both into a data folder, for its owner alone, and return the path of mosquitto.conf."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.write(data / FILE, settings.model_dump_json(indent=2) + "\n")
    return write_broker(settings, data)
