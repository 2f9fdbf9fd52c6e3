"""The tables of the audit log."""

from sqlalchemy import BigInteger, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.database import Base


class AuditRow(Base):
    """A change that was made, or some requests that were refused; a row is written once and never changed. (A2)"""

    __tablename__ = "audit"
    __table_args__ = (
        Index("audit_by_actor", "actor", "number"),
        Index("audit_by_actor_name", "actor_name", "number"),
        Index("audit_by_object", "object", "number"),
        Index("audit_by_subject", "subject", "number"),
        Index("audit_by_action", "action", "number"),
        Index("audit_by_time", "at", "number"),
    )

    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """From 1, without a gap."""
    at: Mapped[int] = mapped_column(BigInteger)
    """Unix ms."""
    actor_kind: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(64))
    actor_name: Mapped[str] = mapped_column(String(200))
    address: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64))
    method: Mapped[str] = mapped_column(String(8))
    route: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(32))
    object: Mapped[str] = mapped_column(String(200))
    subject: Mapped[str] = mapped_column(String(64))
    """The device or gateway that the object belongs to."""
    before: Mapped[str | None] = mapped_column(Text)
    after: Mapped[str | None] = mapped_column(Text)
    """JSON as a text, since the chain counts its letters."""
    outcome: Mapped[str] = mapped_column(String(16))
    status: Mapped[int | None]
    reason: Mapped[str | None] = mapped_column(String(500))
    count: Mapped[int]
    """How many requests: more than one where the like of them were refused within a minute."""
    sha256: Mapped[str] = mapped_column(String(64))
    """Of the row before it and of all the above."""


class AuditEnds(Base):
    """Where the log begins and ends, the only row: so one that was taken off either end shows too."""

    __tablename__ = "audit_ends"

    id: Mapped[int] = mapped_column(primary_key=True)
    first: Mapped[int] = mapped_column(BigInteger)
    """The oldest row that is kept."""
    before: Mapped[str] = mapped_column(String(64))
    """What `first` follows."""
    number: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    """Of the newest row."""
