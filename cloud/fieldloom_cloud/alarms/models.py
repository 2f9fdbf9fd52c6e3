"""Tables of alarms: what began and ended them, when they were active, their history, and who is not or else told."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.database import Base, now


class AlarmMark(Base):
    """What began or ended an alarm, by the id of the effect: a repeat changes nothing. (E8)"""

    __tablename__ = "alarm_mark"
    __table_args__ = (Index("alarm_mark_by_alarm", "device", "alarm", "at"),)

    device: Mapped[str] = mapped_column(String(64), primary_key=True)
    effect: Mapped[str] = mapped_column(String(64), primary_key=True)
    alarm: Mapped[str] = mapped_column(String(64))
    at: Mapped[int | None] = mapped_column(BigInteger)
    """Unix ms; unknown while only its withdrawal has come."""
    begins: Mapped[bool | None]
    severity: Mapped[str] = mapped_column(String(16))
    message: Mapped[str] = mapped_column(Text)
    rule: Mapped[str | None] = mapped_column(String(64))
    withdrawn: Mapped[bool] = mapped_column(default=False)


class Alarm(Base):
    """An alarm of a device, for as long as it was active once. Times in Unix ms."""

    __tablename__ = "alarm"
    __table_args__ = (
        Index("alarm_by_device", "device", "id"),
        Index("alarm_by_name", "device", "name", "raised_at"),
        Index("alarm_by_state", "state", "id"),
        Index("alarm_by_severity", "severity", "id"),
        Index("alarm_by_time", "raised_at", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    device: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(64))
    opened_by: Mapped[str] = mapped_column(String(64))
    rule: Mapped[str | None] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    """active, acknowledged, cleared, or withdrawn: it should never have been."""
    severity: Mapped[str] = mapped_column(String(16))
    message: Mapped[str] = mapped_column(Text)
    raised_at: Mapped[int] = mapped_column(BigInteger)
    cleared_at: Mapped[int | None] = mapped_column(BigInteger)
    last: Mapped[int] = mapped_column(BigInteger)
    count: Mapped[int]
    known_at: Mapped[int] = mapped_column(BigInteger)
    """When the cloud heard of it, by its clock: from here on somebody has to acknowledge it."""
    acknowledged_by: Mapped[str | None] = mapped_column(String(64))
    muted: Mapped[bool] = mapped_column(default=False)
    """It came while its device was muted."""
    raised_to: Mapped[str | None] = mapped_column(String(16))
    """The severity that an escalation has made of it."""


class AlarmChange(Base):
    """What became of an alarm, when, and who did it; empty where a rule did. (E7)"""

    __tablename__ = "alarm_change"

    id: Mapped[int] = mapped_column(primary_key=True)
    alarm: Mapped[int] = mapped_column(ForeignKey("alarm.id", ondelete="CASCADE"), index=True)
    at: Mapped[int] = mapped_column(BigInteger)
    """Unix ms, by the cloud's clock."""
    what: Mapped[str] = mapped_column(String(16))
    by: Mapped[str] = mapped_column(String(64))
    note: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]] = mapped_column(JSON)


class Escalated(Base):
    """An escalation that an alarm has been through."""

    __tablename__ = "alarm_escalated"

    alarm: Mapped[int] = mapped_column(ForeignKey("alarm.id", ondelete="CASCADE"), primary_key=True)
    escalation: Mapped[str] = mapped_column(String(64), primary_key=True)


class Mute(Base):
    """A time in which the alarms of a device, a group or a site wake nobody: a maintenance window too. (E7)"""

    __tablename__ = "mute"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    """device, group or site."""
    target: Mapped[str] = mapped_column(String(64))
    starts: Mapped[datetime]
    ends: Mapped[datetime] = mapped_column(index=True)
    reason: Mapped[str] = mapped_column(Text)
    by: Mapped[str] = mapped_column(String(64))
    created: Mapped[datetime] = mapped_column(default=now)


class Escalation(Base):
    """What happens to alarms that nobody has acknowledged for so long. (E7)"""

    __tablename__ = "escalation"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    after: Mapped[int] = mapped_column(BigInteger)
    """ms."""
    severity: Mapped[str] = mapped_column(String(16))
    """From which severity on."""
    site: Mapped[str | None] = mapped_column(String(64))
    group: Mapped[str | None] = mapped_column(String(64))
    raise_to: Mapped[str | None] = mapped_column(String(16))
    recipient: Mapped[str | None] = mapped_column(String(64))
