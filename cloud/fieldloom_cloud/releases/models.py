"""Tables of releases: what they are, which files they have, and each content once, however many releases have it."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.database import Base, now


class Release(Base):
    """A release of the firmware for one kind of board. (F5)"""

    __tablename__ = "release"
    __table_args__ = (Index("release_by_board", "board", "created"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    board: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(64))
    mpy: Mapped[str] = mapped_column(String(16))
    floor: Mapped[str] = mapped_column(String(64))
    expires: Mapped[int] = mapped_column(BigInteger)
    key_serial: Mapped[int] = mapped_column(BigInteger)
    signature: Mapped[str] = mapped_column(String(16))
    created: Mapped[datetime] = mapped_column(default=now)


class Content(Base):
    """The bytes of a file, under their SHA-256."""

    __tablename__ = "release_content"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    body: Mapped[bytes] = mapped_column(LargeBinary)


class File(Base):
    """A file of a release, named as in its archive: `manifest`, `files/main.py`."""

    __tablename__ = "release_file"

    release: Mapped[str] = mapped_column(ForeignKey("release.id", ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(String(128), primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("release_content.sha256"), index=True)
    size: Mapped[int]
