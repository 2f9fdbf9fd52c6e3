"""The settings of a cloud process: one file in its data folder, written by `fieldloom cloud init`."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fieldloom_runtime.settings import read

FILE = "cloud.json"
DATABASE = "cloud.db"
POSTGRESQL = "postgresql://"
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
    database: str | None = Field(
        default=None,
        description="A PostgreSQL database in place of the file, as postgresql://USER@HOST/NAME; its password is read "
        "from the file that PGPASSFILE names.",
    )
    release_root: Path | None = Field(
        default=None,
        description="The public part of the offline root that signs release keys; with it every upload is verified.",
    )

    audit_days: int = Field(default=730, ge=1, le=36_500, description="How long the audit log is kept.")

    @field_validator("database")
    @classmethod
    def _database(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if not url.startswith(POSTGRESQL):
            raise ValueError(f"must begin with {POSTGRESQL}")
        if ":" in urlsplit(url).netloc.rpartition("@")[0] or "password" in urlsplit(url).query:
            raise ValueError("must hold no password: put it into the file that PGPASSFILE names")
        return url

    def sql(self, data: Path) -> Path | str:
        """Return where everything but telemetry is: a database's address, or a file in the data folder."""
        return self.database or data / DATABASE


def load(data: Path) -> Settings:
    """Return the settings in a data folder. Raises StartFailed."""
    return read(Settings, data / FILE, f"fieldloom cloud init --data {data}")
