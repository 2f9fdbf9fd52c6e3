"""What the PKI takes and gives over HTTP."""

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from fieldloom_cloud.registry.schemas import Strict

Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]


class CertificateRequest(Strict):
    csr: str = Field(max_length=16_384, description="PKCS#10, PEM.")
    hosts: list[Host] = Field([], max_length=16, description="Names and addresses of a gateway that is a server too.")


class CertificateOut(BaseModel):
    serial: str
    subject: str
    certificate: str = Field(description="With the intermediate behind it, PEM.")
    not_after: str
    issued: str


class IssuedOut(CertificateOut):
    ca: str = Field(description="What to trust, PEM.")
