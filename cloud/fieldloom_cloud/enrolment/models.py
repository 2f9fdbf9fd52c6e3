"""Tables of enrolment."""

from datetime import datetime

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.database import Base, now


class Claim(Base):
    """What lets a device or gateway fetch its first certificate, once; a newer one takes the place of an older."""

    __tablename__ = "claim"

    subject: Mapped[str] = mapped_column(String(64), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    hosts: Mapped[list[str]] = mapped_column(JSON)
    created: Mapped[datetime] = mapped_column(default=now)
    expires: Mapped[datetime]
    used: Mapped[datetime | None]
