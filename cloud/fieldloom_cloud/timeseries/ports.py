"""What a store of time series can do: the ports that DuckDB, InfluxDB and VictoriaMetrics stand behind.

One conformance suite holds all of them to it (`tests/cloud/timeseries/`). Times are Unix ms. (S1, ADR 37)

SeriesError
├── Unreachable      the server can't be asked now; what was to be written is written again
└── Refused          the server says that what it was sent is wrong
"""

from enum import Enum
from typing import NamedTuple, Protocol

Tags = tuple[tuple[str, str], ...]
"""(name, value), sorted by name."""

DAY_MS = 86_400_000


class Tier(Enum):
    """Where points lie, which decides how long they are kept. (S3)"""

    RAW = "raw"
    ROLLED = "rolled"
    """Made of others by a downsampling rule."""


class Point(NamedTuple):
    """A number at a time. Device, metric and tags are its series; a device's record gives boot and seq. (S1)"""

    device: str
    metric: str
    ts: int
    value: float
    tags: Tags = ()
    boot: int | None = None
    seq: int | None = None


class Query(NamedTuple):
    """Which points: `end` is excluded, `window` is in ms and aligned to the epoch. (S2)"""

    devices: list[str]
    metrics: list[str]
    start: int
    end: int
    aggregate: str | None = None
    window: int | None = None
    limit: int = 1000
    tags: Tags = ()
    """What a series has to carry, among others."""
    percentile: float = 0.5
    """Which one `aggregate` means by `percentile`: 0 to 1, between two values by their distance."""


class Series(NamedTuple):
    """What a query found of one series, in ascending time."""

    device: str
    metric: str
    tags: Tags
    points: list[tuple[int, float]]


class Seen(NamedTuple):
    """Numbered records about a window: the last before it and the first after it, as (boot, seq, ts)."""

    before: tuple[int, int, int] | None
    inside: list[tuple[int, int, int, int, int]]
    """(boot, lowest seq, highest seq, first ts, last ts) of each boot in it."""
    after: tuple[int, int, int] | None


class Receipt(NamedTuple):
    """Which write is meant when its standing is asked for."""

    life: str
    """Which run of the server took it."""
    at: float
    """When it was answered, by the monotonic clock."""
    expired: int = 0
    """How many points the server did not take, since they are older than it keeps any."""


class Standing(Enum):
    """What has become of a write."""

    DURABLE = "durable"
    PENDING = "pending"
    LOST = "lost"
    """Or may be: it has to be written again."""


class Kept(NamedTuple):
    """What a store did for retention."""

    dropped: int
    """Days, or shards, that are gone."""
    note: str | None
    """What the operator has to do himself, if anything."""


class Reader(Protocol):
    """Answers questions. Any thread may ask."""

    def query(self, asked: Query) -> list[Series]:
        """Return the newest raw points of each series, or one point a window. Raises SeriesError."""

    def seen(self, device: str, start: int, end: int) -> Seen:
        """Return what the numbered points of a device say of a window. Raises SeriesError. (T8)"""

    def boots_of(self, device: str, boots: set[int]) -> set[int]:
        """Return those of some boots of a device of which there is a numbered point. Raises SeriesError."""


class Writer(Protocol):
    """Takes points; one that is there already, of the same series and time, is overwritten."""

    def write(self, points: list[Point], tier: Tier) -> Receipt:
        """Take points. Raises SeriesError."""

    def standing(self, receipt: Receipt) -> Standing:
        """Return whether a write would outlive a crash of the store. Raises Unreachable."""


class Keeper(Protocol):
    """Forgets what is old and gives its space back. (S3)"""

    def keep(self, raw_ms: int | None, rolled_ms: int | None, now: int) -> Kept:
        """Forget what is older than that, None for nothing, by whole days or shards. Raises SeriesError."""


class Backend(Reader, Writer, Keeper, Protocol):
    """A store of time series."""

    name: str

    def close(self) -> None:
        """Let go of files and connections."""


class Server(Backend, Protocol):
    """A backend that is another process and takes line protocol."""

    def send(self, lines: bytes, tier: Tier) -> Receipt:
        """Take points as lines (`lines.py`). Raises SeriesError."""

    def open(self) -> None:
        """See that it can be used. Raises StartFailed."""


class SeriesError(Exception):
    """The base of what may go wrong with a store of time series."""


class Unreachable(SeriesError):  # noqa: N818 - it reads as what happened
    """The server does not answer, or not now."""


class Refused(SeriesError):  # noqa: N818 - as above
    """The server says that a request is wrong."""
