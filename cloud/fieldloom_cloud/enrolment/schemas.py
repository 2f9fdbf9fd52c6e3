"""What the making of claims takes and gives over HTTP."""

from pydantic import BaseModel, Field

from fieldloom_cloud.pki.schemas import Host
from fieldloom_cloud.registry.schemas import DeviceName, GatewayName, Strict

WEEK_H = 7 * 24


class ClaimIn(Strict):
    id: DeviceName | GatewayName
    hosts: list[Host] = Field([], max_length=16, description="Names and addresses of a gateway that is a server too.")
    hours: int = Field(24, ge=1, le=WEEK_H, description="How long it is good.")


class ClaimOut(BaseModel):
    id: str
    claim: str = Field(description="The secret, shown this once.")
    hosts: list[str]
    expires: str
