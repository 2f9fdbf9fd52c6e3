"""What the cloud refuses, and how that becomes an answer: problem details (RFC 9457), in one place.

Problem
├── Unauthorized        401
├── Forbidden           403
├── NotFound            404
├── Duplicate           409
├── InUse               409
├── StaleVersion        412
├── BadContent          422, with the faults by path
├── TooManyRequests     429
└── Unavailable         503
FastAPI's own are answered in the same form: 400, 404, 405, 413, 415 and 422.
"""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send


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


class InUse(Problem):
    """Something still needs it."""

    status = 409
    title = "In use"


class StaleVersion(Problem):
    """It was changed since the version that `If-Match` names."""

    status = 412
    title = "Changed meanwhile"


class BadContent(Problem):
    """The request can be read and makes no sense."""

    status = 422
    title = "Bad content"


class Unavailable(Problem):
    """A server that is needed for it can't be asked now."""

    status = 503
    title = "Unavailable"


class Unauthorized(Problem):
    """No token, or one that is not known."""

    status = 401
    title = "Unauthorized"


class Forbidden(Problem):
    """A role that may not."""

    status = 403
    title = "Forbidden"


class TooManyRequests(Problem):
    """Too often of late."""

    status = 429
    title = "Too many requests"


class Fault(BaseModel):
    """One fault of what was sent."""

    path: str
    reason: str


_FAULT = {
    "type": "object",
    "required": ["path", "reason"],
    "properties": {"path": {"type": "string"}, "reason": {"type": "string"}},
}
PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "array", "items": _FAULT},
    },
}


Refused = Callable[[Request, int, str], None]


def answer_problems(app: FastAPI, refused: Refused) -> None:
    """Make every refusal of an application `application/problem+json`; an unforeseen error tells nothing of itself.

    `refused(request, status, reason)` hears of each.
    """
    build = app.build_middleware_stack
    # Outside of FastAPI's own limit of bodies, where `add_middleware` does not reach.
    app.build_middleware_stack = lambda: _TooLong(build())  # type: ignore[method-assign]

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> JSONResponse:
        refused(request, error.status, error.detail)
        return _answer(error.status, error.title, error.detail, error.errors)

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> JSONResponse:
        if _is_unread(error):
            told = request.headers.get("content-type") or "no content type"
            reason = f"send application/json, not {told}"
            refused(request, 415, reason)
            return _answer(415, "Unsupported media type", reason, None)
        faults = [
            {
                "path": _path(fault["loc"]),
                "reason": fault.get("ctx", {}).get("error") if _is_json(fault) else fault["msg"],
            }
            for fault in error.errors()
        ]
        reason = "The request does not fit its schema."
        refused(request, 422, reason)
        return _answer(422, BadContent.title, reason, faults)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        refused(request, error.status_code, str(error.detail))
        answer = _answer(error.status_code, str(error.detail), None, None)
        answer.headers.update(error.headers or {})
        if error.status_code == 405:
            # Starlette names the methods of the first route alone.
            methods = app.openapi()["paths"].get(getattr(request.scope.get("route"), "path", None), {})
            answer.headers["Allow"] = ", ".join(sorted(map(str.upper, methods))) or "GET, HEAD"
        return answer

    @app.exception_handler(Exception)
    async def _unforeseen(_: Request, __: Exception) -> JSONResponse:
        return _answer(500, Problem.title, "The log of the cloud says more.", None)


class _TooLong:
    """Says as a problem what FastAPI's limit of bodies says in plain text."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_replaced = False

        async def replace(message: Message) -> None:
            nonlocal is_replaced
            if message["type"] == "http.response.start" and message["status"] == 413:
                is_replaced = True
                await _answer(413, "Content Too Large", None, None)(scope, receive, send)
            if not is_replaced:
                await send(message)

        await self._app(scope, receive, replace)


def _path(where: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in where[1:]) or str(where[0])


def _is_json(fault: dict[str, Any]) -> bool:
    return bool(fault["type"] == "json_invalid")


def _is_unread(error: RequestValidationError) -> bool:
    """Whether a body was there and nobody read it, since its content type is not JSON."""
    return isinstance(error.body, bytes)


def describe_problems(app: FastAPI) -> None:
    """Make the OpenAPI document tell which refusals each operation can answer with, all as problem details."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generate()
            components = schema.setdefault("components", {}).setdefault("schemas", {})
            components |= {"Problem": PROBLEM}
            for unused in ("HTTPValidationError", "ValidationError"):
                components.pop(unused, None)
            for path, operations in schema["paths"].items():
                for method, operation in operations.items():
                    operation["responses"].pop("422", None)
                    _forget_null(operation)
                    for status in _refusals(path, method, operation):
                        operation["responses"].setdefault(str(status), described(status))
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign] # the way that FastAPI's manual shows


def _forget_null(operation: dict[str, Any]) -> None:
    """Describe a parameter that may be left out as such: null has no form in an address."""
    for parameter in operation.get("parameters", ()):
        kinds = parameter["schema"].pop("anyOf", [])
        for kind in kinds:
            parameter["schema"] |= kind if kind != {"type": "null"} else {}


def _refusals(path: str, method: str, operation: dict[str, Any]) -> list[int]:
    """Return the statuses of refusals that an operation can answer with."""
    takes = {parameter["name"].lower() for parameter in operation.get("parameters", ())}
    has_body = "requestBody" in operation
    possible = {
        400: has_body,
        401: "security" in operation,
        403: "security" in operation,
        404: "{" in path,
        409: method == "post" and has_body,
        412: "if-match" in takes,
        413: has_body,
        415: has_body,
        422: path.startswith("/api/"),
    }
    return [status for status, is_possible in possible.items() if is_possible]


def described(status: int) -> dict[str, Any]:
    """Return what an operation's `responses` say of a refusal that `describe_problems` can't foresee."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": HTTPStatus(status).phrase, "content": content}


def _answer(status: int, title: str, detail: str | None, errors: list[dict[str, str]] | None) -> JSONResponse:
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
    if detail:
        body["detail"] = detail
    if errors:
        body["errors"] = errors
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(body, status, headers=headers, media_type="application/problem+json")
