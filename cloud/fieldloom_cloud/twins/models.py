"""Tables of twins, as the cloud knows them, and of the patches that it has sent."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.database import Base, now


class Twin(Base):
    """What the owner gateway and the device have told last. (R4)"""

    __tablename__ = "twin"

    device: Mapped[str] = mapped_column(ForeignKey("device.id", ondelete="CASCADE"), primary_key=True)
    patches: Mapped[int] = mapped_column(BigInteger, default=0)
    """How many were ever made: the number of the newest one."""
    version: Mapped[int] = mapped_column(BigInteger, default=0)
    desired: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    reported_version: Mapped[int] = mapped_column(BigInteger, default=0)
    reported: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    errors: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    goes_on: Mapped[bool] = mapped_column(default=False)
    """Whether the rest of the report is still to come."""
    reported_at: Mapped[int | None] = mapped_column(BigInteger)


class TwinPatch(Base):
    """A patch and what became of it: pending, applied or refused."""

    __tablename__ = "twin_patch"
    __table_args__ = (
        Index("twin_patch_by_device", "device", "status", "number"),
        UniqueConstraint("token", "idempotency_key", name="twin_patch_once"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    device: Mapped[str] = mapped_column(ForeignKey("device.id", ondelete="CASCADE"))
    number: Mapped[int] = mapped_column(BigInteger)
    changes: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None] = mapped_column(String(4096))
    token: Mapped[str] = mapped_column(String(32))
    idempotency_key: Mapped[str | None] = mapped_column(String(200))
    created: Mapped[datetime] = mapped_column(default=now)
