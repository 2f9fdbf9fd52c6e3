"""Tables of rules: what is deployed, what gateways say of it, what the cloud's engine remembers and has to do."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.automation.telling import AtGateway, Kind
from fieldloom_cloud.database import Base, now
from fieldloom_runtime import down


class Rule(Base):
    """A rule, and which of its versions is at work. (E5)"""

    __tablename__ = "rule"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[str] = mapped_column(String(20))
    mode: Mapped[str] = mapped_column(String(8))
    """`active` or `shadow`."""
    revision: Mapped[int]
    """Counts the changes of version and mode: the ETag."""
    updated: Mapped[datetime] = mapped_column(default=now)


class RuleVersion(Base):
    """What a version of a rule says; it never changes."""

    __tablename__ = "rule_version"

    rule: Mapped[str] = mapped_column(ForeignKey("rule.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[str] = mapped_column(String(20), primary_key=True)
    document: Mapped[dict[str, Any]] = mapped_column(JSON)
    fingerprint: Mapped[str] = mapped_column(String(64))
    created: Mapped[datetime] = mapped_column(default=now)


class RuleAtGateway(AtGateway, Base):
    """What became of a rule at a gateway."""

    __tablename__ = "rule_at_gateway"

    rule: Mapped[str] = mapped_column(String(64), primary_key=True)
    mode: Mapped[str] = mapped_column(String(8))


AT_GATEWAYS = Kind(RuleAtGateway, "rule", ("version", "mode", "devices"), down.RULE, down.Rules, down.RULES)


class RuleState(Base):
    """What the engine remembers of one source of events."""

    __tablename__ = "rule_state"

    source: Mapped[str] = mapped_column(String(64), primary_key=True)
    gateway: Mapped[str] = mapped_column(String(64))
    """Which brought the newest event."""
    state: Mapped[str] = mapped_column(Text)
    """JSON as Python writes it: what is worked out of readings need not be finite."""


class RuleJournal(Base):
    """What the engine was told since what it remembers was written."""

    __tablename__ = "rule_journal"

    number: Mapped[int] = mapped_column(primary_key=True)
    entry: Mapped[bytes] = mapped_column(LargeBinary)


class RuleCheckpoint(Base):
    """For which rules states and journal are: one row."""

    __tablename__ = "rule_checkpoint"

    number: Mapped[int] = mapped_column(primary_key=True)
    fingerprints: Mapped[dict[str, str]] = mapped_column(JSON)
    """By rule."""


class RuleInbox(Base):
    """What an ingest worker has left to be judged. (ADR 45)"""

    __tablename__ = "rule_inbox"

    number: Mapped[int] = mapped_column(primary_key=True)
    gateway: Mapped[str] = mapped_column(String(64))
    came: Mapped[bytes] = mapped_column(LargeBinary)


class RuleEffect(Base):
    """Something that a rule of the cloud has asked for, and what became of it. Times in Unix ms. (E3)"""

    __tablename__ = "rule_effect"
    __table_args__ = (Index("rule_effect_by_status", "status", "due"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    rule: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(20))
    device: Mapped[str] = mapped_column(String(64))
    """Whose event it follows from."""
    kind: Mapped[str] = mapped_column(String(32))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    fired_at: Mapped[int] = mapped_column(BigInteger)
    """The time for which the rule has fired."""
    is_amendment: Mapped[bool]
    """It puts right what is told of a time that is over."""
    status: Mapped[str] = mapped_column(String(8))
    """`waiting`, `sent`, `done`, `failed` or `withheld`."""
    number: Mapped[int] = mapped_column(BigInteger)
    """Grows with each effect: they are performed in this order."""
    attempts: Mapped[int]
    due: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[int] = mapped_column(BigInteger)
    result: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    error: Mapped[str | None] = mapped_column(Text)
