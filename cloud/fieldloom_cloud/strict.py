"""What every route refuses alike: bodies that no store can keep, loose times, parameters that nobody knows. (A1)"""

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import AwareDatetime, BeforeValidator

from fieldloom_cloud.errors import BadContent
from fieldloom_contract import messages
from fieldloom_contract.compat import loads
from fieldloom_contract.errors import Rejected

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _instant(value: Any) -> datetime:
    """Return a moment in UTC. Pydantic alone takes numbers and dates too, and years that UTC does not have."""
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise ValueError("must be a time as RFC 3339 has it, as 2026-11-26T10:00:00Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError("must be from the year 1 to 9999 in UTC") from None


Instant = Annotated[AwareDatetime, BeforeValidator(_instant)]


class _StrictRequest(Request):
    async def json(self) -> Any:
        """Return the body as the contract reads JSON: no NaN, no repeated key, nothing that a store can't keep."""
        body = await self.body()
        try:
            return messages.plain(loads(body), "body")
        except (ValueError, Rejected) as error:
            raise json.JSONDecodeError(str(error), body.decode(errors="replace"), 0) from None


class StrictRoute(APIRoute):
    """A route that knows all its query parameters and reads its body strictly."""

    def get_route_handler(self) -> Any:
        """Return FastAPI's own handler behind the two checks."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Any:
            self._refuse_unknown(request)
            return await handle(_StrictRequest(request.scope, request.receive))

        return strict

    def _refuse_unknown(self, request: Request) -> None:
        """Refuse a parameter that would be ignored: a misspelt filter gives the whole list."""
        described = request.app.openapi()["paths"][request.scope["route"].path][request.method.lower()]
        known = {one["name"] for one in described.get("parameters", ()) if one["in"] == "query"}
        faults = [
            {"path": name, "reason": "is no parameter of this"} for name in request.query_params if name not in known
        ]
        if faults:
            raise BadContent("A parameter is not known.", faults)
        told = [*request.query_params.multi_items(), *request.path_params.items()]
        faults = [{"path": name, "reason": "must hold no NUL"} for name, value in told if "\0" in value]
        if faults:
            raise BadContent("No store can keep a NUL.", faults)
