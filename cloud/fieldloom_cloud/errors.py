"""What the cloud refuses, and how that becomes an answer: problem details (RFC 9457), in one place.

Problem
├── NotFound            404
├── Duplicate           409
├── StaleVersion        412
└── BadContent          422, with the faults by path
"""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """The base of all that a request may be refused for."""

    status = 500
    title = "Internal error"

    def __init__(self, detail: str, errors: list[dict[str, str]] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors


class NotFound(Problem):
    """There is no such thing."""

    status = 404
    title = "Not found"


class Duplicate(Problem):
    """It is there already."""

    status = 409
    title = "Duplicate"


class StaleVersion(Problem):
    """It was changed since the version that `If-Match` names."""

    status = 412
    title = "Changed meanwhile"


class BadContent(Problem):
    """The request can be read and makes no sense."""

    status = 422
    title = "Bad content"


class Unauthorized(Problem):
    """No token, or one that is not known."""

    status = 401
    title = "Unauthorized"


class Forbidden(Problem):
    """A role that may not."""

    status = 403
    title = "Forbidden"


def answer_problems(app: FastAPI) -> None:
    """Make every refusal of an application `application/problem+json`; an unforeseen error tells nothing of itself."""

    @app.exception_handler(Problem)
    async def _problem(_: Request, error: Problem) -> JSONResponse:
        return _answer(error.status, error.title, error.detail, error.errors)

    @app.exception_handler(RequestValidationError)
    async def _validation(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = [
            {"path": ".".join(str(part) for part in fault["loc"][1:]) or str(fault["loc"][0]), "reason": fault["msg"]}
            for fault in error.errors()
        ]
        return _answer(422, BadContent.title, "The request does not fit its schema.", faults)

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        answer = _answer(error.status_code, str(error.detail), None, None)
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def _unforeseen(_: Request, __: Exception) -> JSONResponse:
        return _answer(500, Problem.title, "The log of the cloud says more.", None)


def _answer(status: int, title: str, detail: str | None, errors: list[dict[str, str]] | None) -> JSONResponse:
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
    if detail:
        body["detail"] = detail
    if errors:
        body["errors"] = errors
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(body, status, headers=headers, media_type="application/problem+json")
