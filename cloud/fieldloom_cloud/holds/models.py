"""The table of who holds actuators."""

from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.database import Base


class ActuatorRow(Base):
    """An actuator that was held or set, as gateways have told it last. (E9)"""

    __tablename__ = "actuator"

    device: Mapped[str] = mapped_column(ForeignKey("device.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)
    gateway: Mapped[str] = mapped_column(String(64))
    holds: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    """By priority; the first acts."""
    set_at: Mapped[int] = mapped_column(BigInteger, default=0)
    """When its gateway heard that a command had set it, Unix ms; 0: never."""
    set_by: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """Which command that was, and who had asked for it."""
