"""Tables of the PKI."""

from datetime import datetime

from sqlalchemy import BigInteger, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.database import Base, now


class Certificate(Base):
    """A certificate that this cloud has issued."""

    __tablename__ = "certificate"

    serial: Mapped[str] = mapped_column(String(40), primary_key=True)
    subject: Mapped[str] = mapped_column(String(64), index=True)
    pem: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(String(64), index=True, default="", server_default="")
    """SHA-256 of the public key (SubjectPublicKeyInfo)."""
    request: Mapped[str] = mapped_column(String(64), index=True, default="", server_default="")
    """SHA-256 of the request (PKCS#10) that a device sent over its gateway; empty for every other way."""
    not_after: Mapped[datetime] = mapped_column(index=True)
    issued: Mapped[datetime] = mapped_column(default=now)
    revoked: Mapped[datetime | None] = mapped_column(index=True)
    reason: Mapped[str | None] = mapped_column(String(32))


class RevocationList(Base):
    """The newest list of revoked certificates (RFC 5280), the only row."""

    __tablename__ = "revocation_list"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)
    pem: Mapped[str] = mapped_column(Text)
