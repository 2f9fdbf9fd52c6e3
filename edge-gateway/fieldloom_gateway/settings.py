"""The settings of a gateway: one file in its data folder, written by `fieldloom gateway init`."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fieldloom_contract import topics
from fieldloom_contract.errors import Rejected
from fieldloom_runtime.settings import read

FILE = "gateway.json"

Policy = Literal["refuse", "oldest", "lowest_priority"]


class ClusterSettings(BaseModel):
    """A gateway's place among those of its site."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str = Field(description="HOST:PORT where this gateway listens for its peers, and they reach it.")
    admission_port: int = Field(
        default=7421, ge=1, le=65535, description="Where, at the same host, gateways that join are let in by a token."
    )
    members: dict[str, str] = Field(
        default={}, description="The others that begin the cluster, name to HOST:PORT; later the cluster itself knows."
    )
    secret: Path = Field(
        description="A file with what all members share, 32 bytes at least, readable by its owner alone."
    )
    strategy: Literal["balanced", "consistent_hash", "by_load"] = Field(
        default="balanced",
        description="How partitions are shared; the same at every member. `by_load` is `balanced` until all have it.",
    )


class Settings(BaseModel):
    """Everything that a gateway has to be told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(description="The gateway's name, with a dot, as gw.site1; the CN of its certificate.")
    ca: Path = Field(description="The CA's certificates, PEM.")
    cert: Path
    key: Path
    cloud_host: str = "127.0.0.1"
    cloud_port: int = Field(default=8884, ge=1, le=65535)
    mqtt_host: str = "127.0.0.1"
    mqtt_port: int = Field(default=8883, ge=1, le=65535, description="Where devices connect.")
    local_port: int = Field(
        default=18883, ge=1, le=65535, description="Where the gateway itself connects, on loopback."
    )
    http_port: int = Field(default=8090, ge=1, le=65535, description="Where the gateway tells its status, on loopback.")
    outbox_bytes: int = Field(
        default=256 * 2**20,
        ge=2**16,
        description="What may wait for the cloud; more is not acknowledged, so it stays upstream.",
    )
    outbox_policy: Policy = Field(
        default="refuse",
        description="What happens when that is full: refuse what comes, or give up the `oldest` or what is of the "
        "`lowest_priority` (telemetry before events, results and reports); what is given up is told.",
    )
    outbox_hours: float | None = Field(
        default=None, gt=0, description="What has waited longer for the cloud is given up, and told."
    )
    slow_down: int | None = Field(
        default=None,
        ge=2,
        le=100,
        description="By which factor devices report less often while the outbox is nearly full; by default 1.",
    )
    uplink_bytes_per_s: int | None = Field(
        default=None, ge=1024, description="What the uplink may take of the link; by default all of it."
    )
    release_bytes: int = Field(
        default=64 * 2**20, ge=2**22, description="What the cache of releases may hold; the oldest goes first."
    )
    rule_days: int = Field(
        default=90, ge=1, le=36_500, description="How long it is kept when rules have fired and what they did."
    )

    discovery_minutes: float = Field(
        default=60, gt=0, description="How often devices are asked who is there; at each start they are asked anyway."
    )
    mdns: bool = Field(
        default=False,
        description="Whether the gateway announces itself by multicast DNS, on the network of mqtt_host alone.",
    )
    cluster: ClusterSettings | None = Field(
        default=None, description="The gateways with which this one shares a site; by default it is alone."
    )

    @field_validator("id")
    @classmethod
    def _is_a_gateways_name(cls, value: str) -> str:
        try:
            return topics.gateway_id(value)
        except Rejected as error:
            raise ValueError(error.reason) from error


def load(data: Path) -> Settings:
    """Return the settings in a data folder. Raises StartFailed."""
    return read(Settings, data / FILE, f"fieldloom gateway init --data {data}")
