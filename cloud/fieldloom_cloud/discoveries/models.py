"""The table of devices that were found and are not registered."""

from datetime import datetime

from sqlalchemy import JSON, BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.database import Base


class Discovery(Base):
    """A device that a gateway has found, with what it said of itself; the last site that heard it counts. (C8)"""

    __tablename__ = "discovery"
    __table_args__ = (Index("discovery_by_site", "site", "device"),)

    device: Mapped[str] = mapped_column(String(64), primary_key=True)
    site: Mapped[str] = mapped_column(String(64))
    gateway: Mapped[str] = mapped_column(String(64))
    adapter: Mapped[str] = mapped_column(String(64))
    type: Mapped[str] = mapped_column(String(64))
    board: Mapped[str] = mapped_column(String(64))
    firmware: Mapped[str] = mapped_column(String(64))
    capabilities: Mapped[list[str]] = mapped_column(JSON)
    first: Mapped[int] = mapped_column(BigInteger)
    """Unix ms, as `last`."""
    last: Mapped[int] = mapped_column(BigInteger)
    dismissed: Mapped[datetime | None]
