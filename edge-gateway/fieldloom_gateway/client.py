"""The gateway's own HTTP interface, as its commands use it."""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from fieldloom_gateway.local import TOKEN_FILE
from fieldloom_gateway.settings import load
from fieldloom_runtime.errors import StartFailed

TIMEOUT_S = 30
NOT_FOUND = 3
"""What a command ends with when the gateway has nothing of the name."""

Data = Annotated[Path, typer.Option("--data", help="The gateway's data folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def end(line: str, code: int = 1) -> NoReturn:
    """End the command with a line that says what is wrong."""
    print(f"fieldloom: {line}", file=sys.stderr)
    raise typer.Exit(code)


class NotDone(Exception):  # noqa: N818 - it reads as what happened
    """What the gateway refused; `status` is HTTP's."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        faults = [f"{fault['path']}: {fault['reason']}" for fault in problem.get("errors", [])]
        super().__init__("\n  ".join([str(problem.get("detail", status)), *faults]))
        self.status = status


def call(data: Path, method: str, path: str, wait_s: int = 0, body: Any = None, **query: Any) -> Any:
    """Return the answer of the running gateway of a data folder, which may take `wait_s` longer than others.

    A body is sent as JSON. Raises NotDone; ends the command without a gateway.
    """
    try:
        port = load(data).http_port
        token = (data / TOKEN_FILE).read_text().strip()
    except StartFailed as error:
        end(str(error))
    except OSError as error:
        end(f"{data / TOKEN_FILE} can't be read ({error.strerror}): run the gateway once, and be its user")
    asked = urllib.parse.urlencode({name: value for name, value in query.items() if value is not None})
    url = f"http://127.0.0.1:{port}/api/v1{path}" + (f"?{asked}" if asked else "")
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"}, method=method)
    request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S + wait_s) as answer:  # noqa: S310 - as above
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            raise NotDone(error.code, _problem(error)) from None
    except (urllib.error.URLError, TimeoutError):
        end(f"no gateway answers at {url}: run it by `fieldloom gateway run --data {data}`")


def ask(data: Path, method: str, path: str, body: Any = None, **query: Any) -> Any:
    """Return the answer as `call` does; end the command with what the gateway refused."""
    try:
        return call(data, method, path, body=body, **query)
    except NotDone as error:
        end(str(error), NOT_FOUND if error.status == 404 else 1)


def moment(ts: int) -> str:
    """Return a time in Unix ms as RFC 3339 tells it, to the second."""
    return datetime.fromtimestamp(ts / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _problem(error: urllib.error.HTTPError) -> dict[str, Any]:
    try:
        told = json.load(error)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
