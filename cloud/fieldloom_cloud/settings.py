"""The settings of a cloud process: one file in its data folder, written by `fieldloom cloud init`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.settings import read

FILE = "cloud.json"
DATABASE = "cloud.db"
POSTGRESQL = "postgresql://"
IDENTITY = "svc.cloud"  # the CN of the cloud's own certificate, that of worker 1
MOST_WORKERS = 32
LOOPBACK = ("127.0.0.1", "::1", "localhost")

SeriesBackend = Literal["duckdb", "influxdb", "influxdb2", "victoriametrics"]


class SeriesSettings(BaseModel):
    """Where time series are: in the data folder, or in a server made for them. (S1, ADR 37)"""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backend: SeriesBackend = Field(default="duckdb", description="influxdb is 1.x; influxdb2 is 2.x and 3.x.")
    url: str | None = Field(default=None, description="The server, as https://HOST:8086; http is for loopback alone.")
    database: str = Field(
        default="fieldloom",
        min_length=1,
        max_length=64,
        description="InfluxDB's database, or what its buckets begin by.",
    )
    organisation: str | None = Field(default=None, description="The organisation in InfluxDB 2.x.")
    user: str | None = Field(default=None, description="A user whose password is in token_file, in place of a token.")
    token_file: Path | None = Field(default=None, description="A file that its owner alone can read.")
    ca: Path | None = Field(default=None, description="The CA of the server's certificate, PEM.")

    @model_validator(mode="after")
    def _fits(self) -> "SeriesSettings":
        if (self.backend == "duckdb") != (self.url is None):
            raise ValueError("duckdb takes no url" if self.url else f"{self.backend} needs a url")
        if self.backend == "influxdb2" and self.organisation is None:
            raise ValueError("influxdb2 needs an organisation")
        if self.user is not None and self.token_file is None:
            raise ValueError("a user needs a token_file, which holds his password")
        if self.url is not None:
            _check_address(self.url)
        return self


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("url must begin with https://HOST, or with http:// on loopback")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("url must begin with https://: plain HTTP is for loopback alone")
    if parts.username or parts.password:
        raise ValueError("url must hold no user or password: they are user and token_file")


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
        ge=0,
        le=65535,
        description="Where certificates are fetched over EST, at the address of mqtt_host; 0: not from this process.",
    )
    worker: int = Field(
        default=1,
        ge=1,
        le=MOST_WORKERS,
        description="This process among several on one PostgreSQL database with a server of time series.",
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
    series: SeriesSettings = Field(default=SeriesSettings(), description="Where time series are.")

    rule_days: int = Field(
        default=90, ge=1, le=36_500, description="How long it is kept when rules have fired and what they did."
    )
    workflow_days: int = Field(
        default=90, ge=1, le=36_500, description="How long instances of workflows are kept that have ended."
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

    @property
    def is_shared(self) -> bool:
        """Whether several processes may run with these settings: neither SQLite nor DuckDB admits a second one."""
        return self.database is not None and self.series.backend != "duckdb"

    @property
    def identity(self) -> str:
        """The CN of this process's own certificate."""
        return identity_of(self.worker)

    def sql(self, data: Path) -> Path | str:
        """Return where everything but telemetry is: a database's address, or a file in the data folder."""
        return self.database or data / DATABASE


def identity_of(worker: int) -> str:
    """Return the CN of a worker's own certificate: a broker takes one connection an identity."""
    return IDENTITY if worker == 1 else f"{IDENTITY}.{worker}"


def load(data: Path, changed: Mapping[str, int] | None = None) -> Settings:
    """Return the settings in a data folder, some of them changed for one process. Raises StartFailed."""
    found = read(Settings, data / FILE, f"fieldloom cloud init --data {data}")
    settings = Settings.model_validate({**found.model_dump(), **(changed or {})})
    if settings.worker > 1 and not settings.is_shared:
        way_out = "set database to a PostgreSQL database and series to a server in cloud.json, or leave out --worker"
        raise StartFailed("SQLite and DuckDB admit one process", way_out)
    return settings
