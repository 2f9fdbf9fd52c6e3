"""What the registry takes and gives over HTTP."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from fieldloom_contract import topics
from fieldloom_contract.errors import Rejected

DeviceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$")]
SERVICES = "svc."  # names of the cloud's own processes, which have rights that no gateway has
EXPORT = "export"  # /devices/export is no device


def _gateway(name: str) -> str:
    try:
        topics.gateway_id(name)
    except Rejected as error:
        raise ValueError(error.reason) from None
    if name.startswith(SERVICES) or not name.strip("."):
        raise ValueError("must be a gateway's, as gw.site1; svc. is the cloud's own")
    return name


GatewayName = Annotated[str, AfterValidator(_gateway)]
SiteName = DeviceName
Text = Annotated[str, StringConstraints(max_length=200)]
Word = Annotated[str, StringConstraints(max_length=64)]
Tags = dict[Annotated[str, StringConstraints(min_length=1, max_length=64)], Text]


class Strict(BaseModel):
    """A body in which an unknown field or a wrong type is a fault."""

    model_config = ConfigDict(extra="forbid", strict=True)


class SiteIn(Strict):
    id: SiteName
    name: Text = ""


class SitePatch(Strict):
    automatic_entry: bool = Field(description="Whether devices that are found here are registered at once.")


class SiteOut(BaseModel):
    id: str
    name: str
    automatic_entry: bool
    created: str


class GatewayIn(Strict):
    id: GatewayName
    site: SiteName | None = Field(None, description="By default the only site.")


class GatewayOut(BaseModel):
    id: str
    site: str
    created: str


class DevicePatch(Strict):
    name: Text | None = None
    type: Word | None = None
    manufacturer: Text | None = None
    model: Text | None = None
    capabilities: list[Word] | None = Field(None, max_length=64)
    tags: Tags | None = Field(None, max_length=64, description="Replaces all tags.")


def _device(name: str) -> str:
    if name == EXPORT:
        raise ValueError("is a word of the API: choose another id")
    return name


class DeviceIn(DevicePatch):
    id: Annotated[DeviceName, AfterValidator(_device)]
    site: SiteName | None = Field(None, description="By default the only site.")


class DeviceOut(BaseModel):
    id: str
    site: str
    name: str
    type: str
    manufacturer: str
    model: str
    firmware: str
    board: str
    status: str
    capabilities: list[str]
    tags: dict[str, str]
    version: int
    created: str
    updated: str


class DeviceShown(DeviceOut):
    state: dict[str, Any] | None = Field(
        description="What the device told last of itself, and `at` when: memory (`free`, `lowest`, `flash_free`), link "
        "(`rssi`, `reconnects`), buffer (`waiting`, `dropped`), ... null if it never did."
    )
