"""Tables of commands, and of what waits to be sent down to a gateway."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.database import Base, now


class Command(Base):
    """A command and what became of it. (A3)"""

    __tablename__ = "command"
    __table_args__ = (
        Index("command_by_device", "device", "created"),
        UniqueConstraint("token", "idempotency_key", name="command_once"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    device: Mapped[str] = mapped_column(String(64))
    type: Mapped[str] = mapped_column(String(64))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(16))
    expires: Mapped[int] = mapped_column(BigInteger)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    error: Mapped[str | None] = mapped_column(String(4096))
    hold: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """How it is to hold its actuator, if it is: by what priority, why, until when (Unix ms)."""
    token: Mapped[str] = mapped_column(String(32))
    idempotency_key: Mapped[str | None] = mapped_column(String(200))
    created: Mapped[datetime] = mapped_column(default=now)


class DownStream(Base):
    """The stream down to a gateway: its id, drawn once, and the last number given."""

    __tablename__ = "down_stream"

    gateway: Mapped[str] = mapped_column(String(64), primary_key=True)
    stream: Mapped[bytes] = mapped_column(LargeBinary(16))
    number: Mapped[int] = mapped_column(BigInteger)


class DownRecord(Base):
    """A record that a gateway has not acknowledged."""

    __tablename__ = "down_record"

    gateway: Mapped[str] = mapped_column(String(64), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), default="command", server_default="command")
    command: Mapped[str | None] = mapped_column(String(32))
    body: Mapped[bytes] = mapped_column(LargeBinary)
