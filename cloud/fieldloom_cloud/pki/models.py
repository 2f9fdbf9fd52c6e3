"""Tables of the PKI."""

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.database import Base, now


class Certificate(Base):
    """A certificate that this cloud has issued."""

    __tablename__ = "certificate"

    serial: Mapped[str] = mapped_column(String(40), primary_key=True)
    subject: Mapped[str] = mapped_column(String(64), index=True)
    pem: Mapped[str] = mapped_column(Text)
    not_after: Mapped[datetime] = mapped_column(index=True)
    issued: Mapped[datetime] = mapped_column(default=now)
