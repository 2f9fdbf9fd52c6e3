"""Tables of device types, and of readings that did not fit theirs."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.database import Base, now


class DeviceType(Base):
    """One version of a device type; the newest one counts. (R6)"""

    __tablename__ = "device_type"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    definition: Mapped[str] = mapped_column(Text)
    """JSON."""
    created: Mapped[datetime] = mapped_column(default=now)


class Misfit(Base):
    """Readings of one metric of a device that did not fit its type: how many, and what the last one was."""

    __tablename__ = "misfit"

    device: Mapped[str] = mapped_column(ForeignKey("device.id", ondelete="CASCADE"), primary_key=True)
    metric: Mapped[str] = mapped_column(String(64), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text)
    """Of the last one."""
    first: Mapped[int] = mapped_column(BigInteger)
    """When the first one was measured, Unix ms."""
    last: Mapped[int] = mapped_column(BigInteger)
    told: Mapped[int] = mapped_column(BigInteger)
    """When an event told of it last, by its gateway's clock, Unix ms."""
