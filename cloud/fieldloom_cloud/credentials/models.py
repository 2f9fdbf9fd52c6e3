"""The table of credentials that are not certificates."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.database import Base, now


class Credential(Base):
    """What a device proves itself by; a row stays when it is revoked. (P8)"""

    __tablename__ = "credential"
    __table_args__ = (Index("credential_by_device", "device", "kind"),)

    id: Mapped[str] = mapped_column(String(80), primary_key=True)
    device: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    """A hash where that is enough (http, amqp), else the key itself, sealed; empty once it is revoked."""
    token: Mapped[str] = mapped_column(String(32))
    """Whose it was to issue it."""
    created: Mapped[datetime] = mapped_column(default=now)
    ends: Mapped[int | None] = mapped_column(BigInteger)
    """Unix ms."""
    revoked: Mapped[datetime | None]
    reason: Mapped[str | None] = mapped_column(String(32))
