"""Definitions on their way to the gateways, and what those say of them: rules and workflows alike. (E5, W7)

A gateway is told each definition that its site needs, and the whole set; what is at work is compared with what it was
told last, so that nothing is sent twice and nothing forgotten.
"""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from sqlalchemy import JSON, BigInteger, String, delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from fieldloom_cloud.database import from_ms
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.registry import service as registry
from fieldloom_runtime import down
from fieldloom_runtime.records import Event

SENT, APPLIED, REFUSED = "sent", "applied", "refused"
MAX_DEVICES = 1000  # that one record names
MAX_FAULTS = 100

Definition = down.Rule | down.Workflow
"""As a gateway is told it; `devices` are those of its site that it is for, None for all."""
ForSite = Callable[[str], Awaitable[list[Definition]]]
"""Gives what a site needs."""


class AtGateway:
    """The columns of what became of a definition at a gateway; of one that is removed till the gateway is told."""

    gateway: Mapped[str] = mapped_column(String(64), primary_key=True)
    version: Mapped[str] = mapped_column(String(20))
    devices: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    """Those of its site that it was told the definition is for; None for all."""
    status: Mapped[str] = mapped_column(String(8))
    """`sent`, `applied` or `refused`."""
    applied: Mapped[str | None] = mapped_column(String(20))
    """The version that is at work there, also while a newer one is refused."""
    faults: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    engine: Mapped[int | None]
    at: Mapped[int | None] = mapped_column(BigInteger)
    """When it said so, by its own clock, Unix ms."""


class Kind(NamedTuple):
    """Definitions of a kind: where is kept what gateways were told of them, and how they are told."""

    rows: type[Any]
    """An AtGateway."""
    name: str
    """The column of the definition's id, and the front of what gateways say of it."""
    told: tuple[str, ...]
    """The fields of a definition that a row holds."""
    one: str
    whole: type[down.Rules | down.Workflows]
    all: str
    """The kinds of records that go down."""

    @property
    def words(self) -> dict[str, str]:
        """By the type of a gateway's word what it makes of a definition."""
        return {f"{self.name}.{status}": status for status in (APPLIED, REFUSED)}


async def tell_all(session: AsyncSession, kind: Kind, for_site: ForSite) -> bool:
    """Tell every gateway what has changed, and say whether there was anything."""
    told: dict[str, dict[str, Any]] = {}
    for row in await session.scalars(select(kind.rows)):
        told.setdefault(row.gateway, {})[getattr(row, kind.name)] = row
    meant: dict[str, list[Definition]] = {}
    changed = False
    for gateway in await registry.gateways(session):
        site = gateway["site"]
        if site not in meant:
            meant[site] = await for_site(site)
        changed |= await _tell(session, kind, gateway["id"], meant[site], told.get(gateway["id"], {}))
    return changed


async def restore(session: AsyncSession, kind: Kind, gateway: str, for_site: ForSite) -> None:
    """Send a gateway whose stream is new all of it: it may have lost it."""
    site = await registry.site_of(session, gateway)
    if site is not None:
        await session.execute(delete(kind.rows).where(kind.rows.gateway == gateway))
        await _tell(session, kind, gateway, await for_site(site["id"]), {})


async def hear(session: AsyncSession, kind: Kind, gateway: str, word: Event) -> bool:
    """Take a gateway's word on a definition, and say whether it was one that counts; an older one does not."""
    name = word.data.get(kind.name)
    row = await session.get(kind.rows, {kind.name: name, "gateway": gateway}) if isinstance(name, str) else None
    if row is None or (row.at is not None and word.ts < row.at):
        return False
    version, mode, status = word.data.get("version"), word.data.get("mode"), kind.words[word.type]
    if status == APPLIED:
        row.applied = str(version)[:20]
    if version == row.version and mode in (None, getattr(row, "mode", None)):
        row.status, row.at = status, word.ts
        row.faults = _faults(word.data.get("faults")) if status == REFUSED else []
        engine = word.data.get("engine")
        row.engine = engine if isinstance(engine, int) and 0 <= engine < 2**31 else None
    return True


async def at_gateways(session: AsyncSession, kind: Kind, name: str) -> list[dict[str, Any]]:
    """Return what became of a definition at each gateway that was told of it."""
    query = select(kind.rows).where(getattr(kind.rows, kind.name) == name).order_by(kind.rows.gateway)
    names = ("gateway", *kind.told, "status", "applied", "faults", "engine")
    return [
        {**{one: getattr(row, one) for one in names}, "at": None if row.at is None else from_ms(row.at)}
        for row in await session.scalars(query)
    ]


async def _tell(session: AsyncSession, kind: Kind, gateway: str, meant: list[Definition], had: dict[str, Any]) -> bool:
    fresh = {one.id for one in meant if _is_news(kind, had.get(one.id), one)}
    gone = had.keys() - {one.id for one in meant}
    if not (fresh or gone):
        return False
    # What waits would be overtaken: it is said anew, so that a gateway that is away for long has one word of each.
    waiting = {_id_of(body) for body in await dispatch.withdraw(session, gateway, kind.one)}
    await dispatch.withdraw(session, gateway, kind.all)
    ids = {}
    for one in meant:
        if one.id in fresh:
            _note(session, kind, gateway, had.get(one.id), one)
        if one.devices is not None and len(one.devices) > MAX_DEVICES:
            continue
        ids[one.id] = one.version
        if one.id in fresh | waiting:
            await dispatch.queue(session, gateway, kind.one, down.encode(one))
    await dispatch.queue(session, gateway, kind.all, down.encode(kind.whole(ids)))
    for name in gone:
        await session.delete(had[name])
    await session.flush()
    return True


def _is_news(kind: Kind, row: Any, meant: Definition) -> bool:
    return row is None or any(getattr(row, name) != getattr(meant, name) for name in kind.told)


def _note(session: AsyncSession, kind: Kind, gateway: str, row: Any, meant: Definition) -> None:
    """Take note of what a gateway is told, or that a definition is for too many of its devices to be told."""
    if row is None:
        row = kind.rows(**{kind.name: meant.id}, gateway=gateway, applied=None)
        session.add(row)
    for name in kind.told:
        setattr(row, name, getattr(meant, name))
    row.status, row.faults, row.engine, row.at = SENT, [], None, None
    if meant.devices is not None and len(meant.devices) > MAX_DEVICES:
        reason = f"names {len(meant.devices)} devices of this site, and {MAX_DEVICES} is the most: name smaller groups"
        row.status, row.faults = REFUSED, [{"path": "devices", "reason": reason}]


def _id_of(body: bytes) -> str:
    told = down.decode(body)
    return told.id if isinstance(told, (down.Rule, down.Workflow)) else ""


def _faults(told: Any) -> list[dict[str, Any]]:
    """Return the faults that a gateway tells, as far as they are some."""
    faults = told if isinstance(told, list) else []
    return [
        {name: str(one.get(name, ""))[:1000] for name in ("path", "reason")}
        for one in faults[:MAX_FAULTS]
        if isinstance(one, dict)
    ]
