"""What `fieldloom gateway init` writes: the gateway's settings and its broker's configuration."""

from pathlib import Path

from fieldloom_gateway.deploy.broker import write_broker
from fieldloom_gateway.settings import FILE, Settings


def prepare(settings: Settings, data: Path) -> Path:
    """Write both into a data folder, for its owner alone, and return the path of mosquitto.conf."""
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    (data / FILE).touch(mode=0o600)
    (data / FILE).write_text(settings.model_dump_json(indent=2) + "\n")
    return write_broker(settings, data)
