"""Enrolment over Secure Transport (RFC 7030), an interface of its own: what it says is base64 and PKCS#7. (P4)

`cacerts` is everybody's, `simpleenroll` takes a claim (HTTP Basic: the id and the claim), `simplereenroll` a client
certificate. A refusal is a line of text that says why.
"""

import base64
import binascii
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Annotated

import structlog
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from fieldloom_cloud.database import Database
from fieldloom_cloud.enrolment import service
from fieldloom_cloud.errors import BadContent, Problem, TooManyRequests, Unauthorized
from fieldloom_cloud.pki.authority import Authority, BadRequest, certs_only, request_from_der
from fieldloom_cloud.trail import service as trail
from fieldloom_cloud.trail.origin import of_request
from fieldloom_cloud.trail.refusals import Refusals

log = structlog.get_logger()

MAX_BODY_BYTES = 16 * 1024
PKCS7 = "application/pkcs7-mime"
FAILURES = 10
FAILURES_S = 60.0
ADDRESSES = 10_000

basic = HTTPBasic(auto_error=False)


class Failures:
    """How often an address has shown a wrong claim of late. `now` gives seconds of a steady clock."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def refuse(self, address: str) -> None:
        """Raise TooManyRequests for one that has to wait."""
        times = self._times.get(address, deque())
        if len(times) == FAILURES and self._now() - times[0] < FAILURES_S:
            raise TooManyRequests(f"{FAILURES} wrong claims within a minute: wait, and check the claim")

    def add(self, address: str) -> None:
        """Count one; of many addresses those that failed last are remembered."""
        self._times.setdefault(address, deque(maxlen=FAILURES)).append(self._now())
        self._times.move_to_end(address)
        if len(self._times) > ADDRESSES:
            self._times.popitem(last=False)


def est_app(database: Database, authority: Authority, refusals: Refusals) -> FastAPI:
    """Return the interface; its server puts the client's certificate, DER, into `request.state.certificate`.

    `refusals` counts what it refuses.
    """
    app = FastAPI(title="Fieldloom EST", docs_url=None, redoc_url=None, openapi_url=None, max_body_size=MAX_BODY_BYTES)
    failures = Failures()

    @app.exception_handler(Problem)
    async def _refuse(request: Request, error: Problem) -> PlainTextResponse:
        why = "; ".join([error.detail, *(fault["reason"] for fault in error.errors or ())])
        log.warning("enrolment_refused", path=request.url.path, status=error.status, reason=why)
        refusals.add(of_request(request), "", error.status, why)
        # RFC 7030, 4.2.3: a request that is at fault is a 400, and the text is for people.
        status = 400 if error.status == 422 else error.status
        headers = {401: {"WWW-Authenticate": 'Basic realm="EST"'}, 429: {"Retry-After": str(int(FAILURES_S))}}
        return PlainTextResponse(why + "\n", status, headers.get(status))

    @app.get("/.well-known/est/cacerts")
    async def cacerts() -> Response:
        return _pkcs7(certs_only(authority.ca.read_text(), leaf_alone=False))

    @app.post("/.well-known/est/simpleenroll")
    async def simpleenroll(request: Request, shown: Annotated[HTTPBasicCredentials | None, Depends(basic)]) -> Response:
        if shown is None:
            raise Unauthorized("send the id and its claim by HTTP Basic (curl: --user ID:CLAIM)")
        address = request.client.host if request.client else ""
        failures.refuse(address)
        csr = _request(await request.body())
        try:
            async with database.transaction() as session:
                trail.begin(session, of_request(request))
                issued = await service.enrol(session, authority, shown.username, shown.password, csr)
        except Unauthorized:
            failures.add(address)
            raise
        log.info("enrolled", subject=shown.username, address=address)
        return _issued(issued)

    @app.post("/.well-known/est/simplereenroll")
    async def simplereenroll(request: Request) -> Response:
        certificate = request.state.certificate
        if certificate is None:
            raise Unauthorized("show the present certificate in the handshake (curl: --cert FILE --key FILE)")
        csr = _request(await request.body())
        async with database.transaction() as session:
            trail.begin(session, of_request(request))
            issued = await service.enrol_again(session, authority, certificate, csr)
        return _issued(issued)

    return app


def _request(body: bytes) -> str:
    """Return a body's PKCS#10 request, PEM. Raises BadContent."""
    try:
        return request_from_der(base64.b64decode(b"".join(body.split()), validate=True))
    except (binascii.Error, BadRequest):
        raise BadContent("the body must be a PKCS#10 request, DER in base64 (RFC 7030, 4.2.1)") from None


def _issued(pem: str) -> Response:
    """Return the certificate alone: whose it is gets the rest of the chain by `cacerts`. (RFC 7030, 4.2.3)"""
    return _pkcs7(certs_only(pem, leaf_alone=True), "; smime-type=certs-only")


def _pkcs7(message: bytes, parameters: str = "") -> Response:
    headers = {"Content-Transfer-Encoding": "base64"}
    return Response(base64.encodebytes(message), media_type=PKCS7 + parameters, headers=headers)
