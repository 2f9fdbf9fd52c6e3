"""Certificates over HTTP."""

from fastapi import APIRouter, Request

from fieldloom_cloud.auth.dependencies import Operator, Transaction, Viewer
from fieldloom_cloud.pages import Page
from fieldloom_cloud.pki import service
from fieldloom_cloud.pki.schemas import CertificateOut, CertificateRequest, IssuedOut
from fieldloom_cloud.strict import StrictRoute

router = APIRouter(prefix="/api/v1/certificates", tags=["certificates"], route_class=StrictRoute)


@router.get("")
async def list_certificates(transaction: Transaction, _: Viewer, subject: str | None = None) -> Page[CertificateOut]:
    return Page[CertificateOut].model_validate({"items": await service.certificates(transaction, subject)})


@router.post("", status_code=201)
async def issue_certificate(
    body: CertificateRequest, request: Request, transaction: Transaction, _: Operator
) -> IssuedOut:
    authority = request.app.state.authority
    issued = await service.issue(
        transaction, authority, body.csr, tuple(body.hosts), allow_revoked_key=body.allow_revoked_key
    )
    return IssuedOut(**issued)


@router.get("/{serial}")
async def show_certificate(serial: str, transaction: Transaction, _: Viewer) -> CertificateOut:
    return CertificateOut(**await service.certificate(transaction, serial))
