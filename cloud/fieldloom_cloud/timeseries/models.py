"""Tables about time series: what waits for a server, the rules of downsampling, how long points are kept."""

from sqlalchemy import BigInteger, Float, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.database import Base


class SeriesPending(Base):
    """Points as lines, which a server does not have durably yet. (S1, ADR 37)"""

    __tablename__ = "series_pending"

    id: Mapped[int] = mapped_column(primary_key=True)
    lines: Mapped[bytes] = mapped_column(LargeBinary)
    size: Mapped[int]
    """In bytes."""
    points: Mapped[int]


class SeriesRule(Base):
    """A rule of downsampling. Times in ms. (S3, ADR 38)"""

    __tablename__ = "series_rule"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    source: Mapped[str] = mapped_column(String(64))
    aggregate: Mapped[str] = mapped_column(String(64))
    percentile: Mapped[float | None] = mapped_column(Float)
    window_ms: Mapped[int] = mapped_column(BigInteger)
    target: Mapped[str] = mapped_column(String(64))
    look_back_ms: Mapped[int] = mapped_column(BigInteger)
    made_until: Mapped[int | None] = mapped_column(BigInteger)
    """The end of the last window that is made, Unix ms."""


class SeriesRetention(Base):
    """How long points are kept: one row at most. Times in ms, null for ever. (S3)"""

    __tablename__ = "series_retention"

    id: Mapped[int] = mapped_column(primary_key=True)
    raw_ms: Mapped[int | None] = mapped_column(BigInteger)
    rolled_ms: Mapped[int | None] = mapped_column(BigInteger)
    note: Mapped[str | None]
    """What the operator has to do himself."""
