"""Releases in SQL: taken whole or not at all, shown, read in pieces by gateways, forgotten. (F5)"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud import pages
from fieldloom_cloud.database import insert, iso, now
from fieldloom_cloud.errors import BadContent, Duplicate, NotFound
from fieldloom_cloud.releases.models import Content, File, Release
from fieldloom_cloud.releases.package import SBOM, Package
from fieldloom_cloud.trail import service as trail
from fieldloom_contract.release import shown
from fieldloom_runtime.pieces import INDEX, Entry, Piece, Unknown, Wanted, encode_index


async def add(session: AsyncSession, package: Package) -> dict[str, Any]:
    """Keep a release. Raises Duplicate."""
    head = package.manifest.head
    row = Release(id=package.id, board=head.board, version=shown(head.version), mpy=head.mpy, floor=shown(head.floor))
    row.expires, row.key_serial, row.signature = head.expires, package.key.serial, package.signature
    session.add(row)
    try:
        await session.flush()
    except IntegrityError:
        raise Duplicate(f"release {package.id} is there already: raise the version, or delete it first") from None
    contents = [{"sha256": file.sha256, "body": file.body} for file in package.files]
    await session.execute(insert(session, Content).on_conflict_do_nothing(), contents)
    session.add_all(
        File(release=package.id, path=file.path, sha256=file.sha256, size=len(file.body)) for file in package.files
    )
    await session.flush()
    trail.note(session, "release", package.id, None, _shown(row))
    return await release(session, package.id)


async def releases(
    session: AsyncSession, board: str | None, asked: pages.Asked
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of releases, the newest upload first, and the next page's cursor."""
    query = select(Release).order_by(Release.created.desc(), Release.id.desc())
    if board is not None:
        query = query.where(Release.board == board)
    found, following = await pages.read(session, query, asked, [datetime, str])
    return [_shown(row) for row in found], following


async def release(session: AsyncSession, release_id: str) -> dict[str, Any]:
    """Return a release with its files. Raises NotFound."""
    shown = _shown(await _release(session, release_id))
    rows = await session.scalars(select(File).where(File.release == release_id).order_by(File.path))
    return {**shown, "files": [{"path": row.path, "size": row.size, "sha256": row.sha256} for row in rows]}


async def sbom(session: AsyncSession, release_id: str) -> bytes:
    """Return a release's bill of materials, CycloneDX JSON. Raises NotFound."""
    await _release(session, release_id)
    where = (File.release == release_id) & (File.path == SBOM)
    return (await session.scalars(select(Content.body).join(File, File.sha256 == Content.sha256).where(where))).one()


async def remove(session: AsyncSession, release_id: str) -> None:
    """Forget a release, and what no other one has. Raises NotFound."""
    row = await _release(session, release_id)
    had = list(await session.scalars(select(File.sha256).where(File.release == release_id)))
    trail.note(session, "release", release_id, _shown(row), None)
    await session.delete(row)
    await session.flush()
    unused = Content.sha256.in_(had) & Content.sha256.not_in(select(File.sha256))
    await session.execute(delete(Content).where(unused))


async def check_update(session: AsyncSession, parameters: dict[str, Any], board: str) -> None:
    """Refuse an update that its device could only refuse; `board` is the device's, "" where nobody knows it yet.

    Raises BadContent.
    """
    wanted = parameters.get("release")
    row = await session.get(Release, wanted) if isinstance(wanted, str) else None
    if row is None:
        reason = f"{wanted} is no release of this cloud: upload it first" if wanted else "is missing: name a release"
    elif board and row.board != board:
        reason = f"{wanted} is made for {row.board}, and this device is {board}"
    elif row.expires <= now().timestamp():
        reason = f"{wanted} has expired at {_moment(row.expires)}: build it anew"
    else:
        return
    raise BadContent("No device would take this.", [{"path": "parameters.release", "reason": reason}])


async def answer(session: AsyncSession, wanted: Wanted) -> Piece | Unknown:
    """Return the piece of a file that a gateway asks for, or of a release's index; the SBOM is no board's business."""
    if wanted.file == INDEX:
        return await _index(session, wanted)
    where = (File.release == wanted.release) & (File.path == wanted.file) & (File.path != SBOM)
    piece = func.substr(Content.body, wanted.offset + 1, wanted.length)
    query = select(File.size, piece).join(Content, Content.sha256 == File.sha256).where(where)
    found = (await session.execute(query)).one_or_none()
    if found is None:
        return Unknown(wanted.release, wanted.file, "the cloud has no such file")
    size, data = found
    return Piece(wanted.release, wanted.file, wanted.offset, size, bytes(data))


async def _index(session: AsyncSession, wanted: Wanted) -> Piece | Unknown:
    rows = await session.scalars(select(File).where(File.release == wanted.release, File.path != SBOM))
    index = encode_index({row.path: Entry(row.sha256, row.size) for row in rows})
    if index == b"{}":
        return Unknown(wanted.release, wanted.file, "the cloud has no such release")
    data = index[wanted.offset : wanted.offset + wanted.length]
    return Piece(wanted.release, wanted.file, wanted.offset, len(index), data)


async def _release(session: AsyncSession, release_id: str) -> Release:
    found = await session.get(Release, release_id)
    if found is None:
        raise NotFound(f"there is no release {release_id}")
    return found


def _shown(row: Release) -> dict[str, Any]:
    names = ("id", "board", "version", "mpy", "floor", "key_serial", "signature")
    moments = {"expires": _moment(row.expires), "created": iso(row.created)}
    return {**{name: getattr(row, name) for name in names}, **moments}


def _moment(seconds: int) -> str:
    return iso(datetime.fromtimestamp(seconds, UTC))
