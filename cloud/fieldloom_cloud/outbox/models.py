"""The table of what is to be told of changes."""

from typing import Any

from sqlalchemy import JSON, BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.database import Base


class Outgoing(Base):
    """An event that its change has left, until it is among the events. (R2)"""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(64))
    device: Mapped[str] = mapped_column(String(64))
    """Empty where it is about no device."""
    ts: Mapped[int] = mapped_column(BigInteger)
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
