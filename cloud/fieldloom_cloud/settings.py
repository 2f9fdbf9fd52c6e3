"""The settings of a cloud process: one file in its data folder, written by `fieldloom cloud init`."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from fieldloom_runtime.settings import read

FILE = "cloud.json"
DATABASE = "cloud.db"
IDENTITY = "svc.cloud"  # the CN of the cloud's own certificate


class Settings(BaseModel):
    """Everything that a cloud process has to be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(default="127.0.0.1", description="Where the API listens; plain HTTP is for loopback alone.")
    port: int = Field(default=8080, ge=1, le=65535)
    mqtt_host: str = Field(default="127.0.0.1", description="Where gateways connect.")
    mqtt_port: int = Field(default=8884, ge=1, le=65535)
    local_port: int = Field(
        default=18884, ge=1, le=65535, description="Where the cloud shows gateways out of its broker, on loopback."
    )
    est_port: int = Field(
        default=8443,
        ge=1,
        le=65535,
        description="Where certificates are fetched over EST, at the address of mqtt_host.",
    )
    release_root: Path | None = Field(
        default=None,
        description="The public part of the offline root that signs release keys; with it every upload is verified.",
    )


def load(data: Path) -> Settings:
    """Return the settings in a data folder. Raises StartFailed."""
    return read(Settings, data / FILE, f"fieldloom cloud init --data {data}")
