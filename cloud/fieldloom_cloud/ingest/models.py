"""Tables of what came up and is no series: events, dead letters, latest values, and the SQL store's own guards."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.database import Base


class IngestStream(Base):
    """How far a gateway's stream is stored."""

    __tablename__ = "ingest_stream"

    stream: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)


class Received(Base):
    """Which seq of a (device, boot) are stored: spans as JSON."""

    __tablename__ = "ingest_received"

    device: Mapped[str] = mapped_column(String(64), primary_key=True)
    boot: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    spans: Mapped[list[list[int]]] = mapped_column(JSON)


class GatewayState(Base):
    """What a gateway told last of itself, and how far that is stored. Times in Unix ms. (T8)"""

    __tablename__ = "gateway_state"

    gateway: Mapped[str] = mapped_column(String(64), primary_key=True)
    online: Mapped[bool]
    heard: Mapped[int] = mapped_column(BigInteger)
    """By the cloud's clock; the other times are by the gateway's."""
    at: Mapped[int] = mapped_column(BigInteger)
    stream: Mapped[bytes] = mapped_column(LargeBinary(16))
    numbered: Mapped[int | None] = mapped_column(BigInteger)
    holds: Mapped[list[list[Any]]] = mapped_column(JSON)
    """[device, boot, first seq, last seq] each."""
    settled: Mapped[int | None] = mapped_column(BigInteger)
    """The `at` of an earlier word whose number the cloud had reached when the newest came."""
    since: Mapped[int | None] = mapped_column(BigInteger)
    """When it began its stream, if it had another one before."""
    waiting: Mapped[int] = mapped_column(BigInteger, default=0)
    release: Mapped[str] = mapped_column(String(64), default="")
    cluster: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """A `Cluster` of its word, None where it is in none."""


class ReadingDue(Base):
    """By when a device has to read again, before it is stale. Times in Unix ms, by its gateway's clock. (R6)"""

    __tablename__ = "reading_due"
    __table_args__ = (Index("reading_due_by_gateway", "gateway", "due"),)

    device: Mapped[str] = mapped_column(String(64), primary_key=True)
    gateway: Mapped[str] = mapped_column(String(64))
    """Over which it was heard last."""
    interval: Mapped[int | None] = mapped_column(BigInteger)
    """How often it says that it reads, ms; 0: not at all."""
    last: Mapped[int] = mapped_column(BigInteger)
    """When the last reading that was noted came, or the device itself."""
    due: Mapped[int | None] = mapped_column(BigInteger)
    """None while nobody waits."""
    stale_at: Mapped[int | None] = mapped_column(BigInteger)
    """When it was found to be stale, as long as it is."""


class Event(Base):
    """An event of a device; results of commands and reports of twins are events too. (E1)"""

    __tablename__ = "event"
    __table_args__ = (Index("event_by_device", "device", "ts"), Index("event_by_type", "type", "ts"))

    id: Mapped[int] = mapped_column(primary_key=True)
    device: Mapped[str] = mapped_column(String(64))
    boot: Mapped[int | None] = mapped_column(BigInteger)
    seq: Mapped[int | None] = mapped_column(BigInteger)
    type: Mapped[str] = mapped_column(String(64))
    ts: Mapped[int] = mapped_column(BigInteger)
    gateway: Mapped[str] = mapped_column(String(64))
    data: Mapped[dict[str, Any]] = mapped_column(JSON)


class DeadLetter(Base):
    """What could not be used, with the reason. (T1)"""

    __tablename__ = "dead_letter"

    id: Mapped[int] = mapped_column(primary_key=True)
    device: Mapped[str] = mapped_column(String(64), index=True)
    gateway: Mapped[str] = mapped_column(String(64))
    ts: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text)
    record: Mapped[dict[str, Any]] = mapped_column(JSON)


class Latest(Base):
    """The newest value of a metric, texts too."""

    __tablename__ = "latest"

    device: Mapped[str] = mapped_column(String(64), primary_key=True)
    metric: Mapped[str] = mapped_column(String(64), primary_key=True)
    ts: Mapped[int] = mapped_column(BigInteger)
    value: Mapped[Any] = mapped_column(JSON)
