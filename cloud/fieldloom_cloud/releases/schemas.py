"""What releases look like over HTTP."""

from typing import Literal

from pydantic import BaseModel, Field


class FileOut(BaseModel):
    path: str
    size: int
    sha256: str


class ReleaseOut(BaseModel):
    id: str
    board: str
    version: str
    mpy: str
    floor: str = Field(description="No release below this may follow it on a board.")
    key_serial: int = Field(description="Of the release key that signed it; boards refuse a lower one than they saw.")
    signature: Literal["verified", "unverified"] = Field(
        description="Whether this cloud knows the root and found the signatures good. Boards check them in any case."
    )
    expires: str
    created: str


class ReleaseDetail(ReleaseOut):
    files: list[FileOut]
