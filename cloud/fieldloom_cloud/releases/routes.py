"""Releases over HTTP. Who deletes one asks the commands first: see `updates`."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.exceptions import HTTPException

from fieldloom_cloud.auth.dependencies import Operator, Transaction, Viewer
from fieldloom_cloud.database import now
from fieldloom_cloud.pages import MAX_PAGE, Asked, Page
from fieldloom_cloud.releases import service
from fieldloom_cloud.releases.package import MAX_ARCHIVE_BYTES, opened
from fieldloom_cloud.releases.schemas import ReleaseDetail, ReleaseOut
from fieldloom_cloud.strict import StrictRoute

router = APIRouter(prefix="/api/v1/releases", tags=["releases"], route_class=StrictRoute)

ZIP = "application/zip"
CYCLONEDX = "application/vnd.cyclonedx+json"
ARCHIVE = {"requestBody": {"required": True, "content": {ZIP: {"schema": {"type": "string", "format": "binary"}}}}}


@router.post("", status_code=201, max_body_size=MAX_ARCHIVE_BYTES, openapi_extra=ARCHIVE)
async def add_release(request: Request, transaction: Transaction, _: Operator) -> ReleaseDetail:
    """Take a release that `fieldloom device build` has made, as a .zip; what does not fit its manifest is refused."""
    told = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if told != ZIP:
        raise HTTPException(415, f"send {ZIP}, not {told or 'no content type'}")
    package = await asyncio.to_thread(opened, await request.body(), request.app.state.release_root, now())
    return ReleaseDetail(**await service.add(transaction, package))


@router.get("")
async def list_releases(
    transaction: Transaction,
    _: Viewer,
    board: Annotated[str | None, Query(max_length=64)] = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
) -> Page[ReleaseOut]:
    found, following = await service.releases(transaction, board, Asked(limit=limit, cursor=cursor))
    return Page[ReleaseOut].model_validate({"items": found, "next": following})


@router.get("/{release_id}")
async def show_release(release_id: str, transaction: Transaction, _: Viewer) -> ReleaseDetail:
    return ReleaseDetail(**await service.release(transaction, release_id))


@router.get("/{release_id}/sbom", response_class=Response, responses={200: {"content": {CYCLONEDX: {}}}})
async def release_sbom(release_id: str, transaction: Transaction, _: Viewer) -> Response:
    """Return what a release is made of: its software bill of materials (CycloneDX). (A17)"""
    return Response(await service.sbom(transaction, release_id), media_type=CYCLONEDX)
