"""Tables of the processes of one cloud, and of the slots that they lease. (A7)"""

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.database import Base


class Worker(Base):
    """A process that lives until `expires`, unless it renews that. Times in Unix ms by the database's clock."""

    __tablename__ = "worker"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    """Drawn anew whenever it begins or has let its lease run out: it never is the owner of an old lease."""
    number: Mapped[int] = mapped_column(unique=True)
    cloud: Mapped[str] = mapped_column(String(64))
    """The hash of what all processes of a cloud have in common."""
    host: Mapped[str] = mapped_column(String(255))
    api: Mapped[str] = mapped_column(String(255))
    """The address of its API on its host."""
    is_at_broker: Mapped[bool]
    """Whether the broker's configuration lies in its data folder."""
    watchers: Mapped[int]
    """How many live streams its API serves."""
    started: Mapped[int] = mapped_column(BigInteger)
    expires: Mapped[int] = mapped_column(BigInteger)


class Slot(Base):
    """Who may store what the gateways of a slot send: all slots are there from the beginning."""

    __tablename__ = "slot"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    owner: Mapped[str | None] = mapped_column(String(32))
    """A worker's id; one that lives no more has nothing."""
    fence: Mapped[int] = mapped_column(BigInteger)
    """The fencing number: it grows whenever the slot is taken."""
