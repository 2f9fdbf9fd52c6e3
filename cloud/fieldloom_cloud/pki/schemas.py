"""What the PKI takes and gives over HTTP."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StringConstraints

from fieldloom_cloud.registry.schemas import Strict

Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.:-]{1,253}$")]


Reason = Literal[
    "unspecified",
    "key_compromise",
    "affiliation_changed",
    "superseded",
    "cessation_of_operation",
    "privilege_withdrawn",
]


class CertificateRequest(Strict):
    csr: str = Field(max_length=16_384, description="PKCS#10, PEM.")
    hosts: list[Host] = Field([], max_length=16, description="Names and addresses of a gateway that is a server too.")
    allow_revoked_key: bool = Field(False, description="Take a key of which a certificate was revoked.")


class Revocation(Strict):
    reason: Reason = Field("unspecified", description="As RFC 5280 names it.")


class CertificateOut(BaseModel):
    serial: str
    subject: str
    certificate: str = Field(description="With the intermediate behind it, PEM.")
    not_after: str
    issued: str
    revoked: str | None
    reason: str | None


class IssuedOut(CertificateOut):
    ca: str = Field(description="What to trust, PEM.")
