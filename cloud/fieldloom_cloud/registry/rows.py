"""Devices as rows of a file: NDJSON, an object a line as the API shows a device, or CSV with a column a tag. (R5)

CSV: the first line names the columns; `capabilities` are parted by semicolons (or a JSON array); each tag has a column
`tag:KEY`, and a device does not have a tag whose cell is empty.
"""

import csv
import io
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any, NamedTuple

from fieldloom_contract.compat import loads
from fieldloom_contract.errors import Rejected
from fieldloom_contract.plain import plain

CSV, NDJSON = "text/csv", "application/x-ndjson"
OWN = ("id", "site", "name", "type", "manufacturer", "model", "capabilities")
TOLD = ("firmware", "board", "status", "version", "created", "updated")
"""What devices or the cloud say: written, and passed over when it is read."""
TAG = "tag:"
MAX_LINE_BYTES = 64 * 1024


class Unreadable(Exception):  # noqa: N818 - it reads as what happened
    """A row that can't be read, or from a line of a number on the rest of the file."""

    def __init__(self, path: str, reason: str, number: int = 0) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason
        self.number = number


class Row(NamedTuple):
    """A line of a file and what it says of a device, or why that can't be read."""

    number: int
    """The line of the file, from 1."""
    fields: dict[str, Any]
    fault: Unreadable | None = None


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Give the lines of a file as it comes in. Raises Unreadable."""
    rest, number = b"", 0
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            number += 1
            yield _text(line, number)
        if len(rest) > MAX_LINE_BYTES:
            raise Unreadable("row", f"has more than {MAX_LINE_BYTES} bytes", number + 1)
    if rest:
        yield _text(rest, number + 1)


def _text(line: bytes, number: int) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise Unreadable("row", "is not UTF-8", number) from None


async def from_ndjson(texts: AsyncIterator[str]) -> AsyncIterator[Row]:
    """Give the rows of a file with an object a line; empty lines are none."""
    number = 0
    async for text in texts:
        number += 1
        if text.strip():
            yield _object(number, text)


def _object(number: int, text: str) -> Row:
    try:
        told = plain(loads(text.encode()), "row")
    except (ValueError, Rejected) as error:
        return Row(number, {}, Unreadable("row", f"is no JSON that can be kept: {error}"))
    if not isinstance(told, dict):
        return Row(number, {}, Unreadable("row", "must be a JSON object"))
    return Row(number, {name: value for name, value in told.items() if name not in TOLD})


async def from_csv(texts: AsyncIterator[str]) -> AsyncIterator[Row]:
    """Give the rows of a CSV file (RFC 4180); its first line names the columns. Raises Unreadable."""
    columns: list[str] = []
    async for number, text in _records(texts):
        row = _parsed(number, text if columns else text.removeprefix("\ufeff"))
        if isinstance(row, Row):
            yield row
        elif not columns:
            columns = _columns(number, row)
        elif row:
            yield _cells(number, columns, row)


async def _records(texts: AsyncIterator[str]) -> AsyncIterator[tuple[int, str]]:
    """Give the records of a CSV file and the numbers of their first lines: a quoted cell may go on over lines."""
    number, pending = 0, []
    async for text in texts:
        number += 1
        pending.append(text)
        joined = "\n".join(pending)
        if joined.count('"') % 2 == 0 or len(joined) > MAX_LINE_BYTES:
            yield number - len(pending) + 1, joined
            pending = []
    if pending:
        yield number - len(pending) + 1, "\n".join(pending)


def _parsed(number: int, text: str) -> list[str] | Row:
    try:
        return next(csv.reader(io.StringIO(text, newline=""), strict=True), [])
    except csv.Error as error:
        return Row(number, {}, Unreadable("row", f"is no CSV: {error}"))


def _columns(number: int, cells: list[str]) -> list[str]:
    columns = [cell if cell.startswith(TAG) else cell.strip() for cell in cells]
    for name in columns:
        if not name.removeprefix(TAG):
            raise Unreadable("row", "has a column without a name", number)
        if columns.count(name) > 1:
            raise Unreadable(name, "is there twice", number)
    return columns


def _cells(number: int, columns: list[str], cells: list[str]) -> Row:
    if len(cells) != len(columns):
        return Row(number, {}, Unreadable("row", f"has {len(cells)} cells, not {len(columns)}"))
    told = {name: cell for name, cell in zip(columns, cells, strict=True) if name not in TOLD}
    fields: dict[str, Any] = {name: cell for name, cell in told.items() if not name.startswith(TAG)}
    tags = {name.removeprefix(TAG): cell for name, cell in told.items() if name.startswith(TAG) and cell}
    if any(name.startswith(TAG) for name in columns):
        fields["tags"] = tags
    if not fields.get("site", "-"):
        del fields["site"]
    if "capabilities" in fields:
        fields["capabilities"] = _several(fields["capabilities"])
    try:
        return Row(number, plain(fields, "row"))
    except Rejected as error:
        return Row(number, {}, Unreadable("row", error.reason))


def _several(cell: str) -> Any:
    if cell.startswith("["):
        try:
            return loads(cell.encode())
        except (ValueError, Rejected):
            return cell  # which is no list, and is refused as such
    return [word.strip() for word in cell.split(";") if word.strip()]


def to_ndjson(devices: Iterable[dict[str, Any]]) -> str:
    """Return devices as lines."""
    return "".join(json.dumps(device, ensure_ascii=False) + "\n" for device in devices)


def header(tags: list[str]) -> str:
    """Return the first line of a CSV file for devices with such tags."""
    return _line([*OWN, *TOLD, *(f"{TAG}{key}" for key in tags)])


def to_csv(devices: Iterable[dict[str, Any]], tags: list[str]) -> str:
    """Return devices as lines under a header."""
    return "".join(
        _line([*(_cell(device[name]) for name in (*OWN, *TOLD)), *(device["tags"].get(key, "") for key in tags)])
        for device in devices
    )


def _cell(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    is_plain = all(word == word.strip() and word and ";" not in word for word in value)
    joined = ";".join(value)
    return joined if is_plain and not joined.startswith("[") else json.dumps(value, ensure_ascii=False)


def _line(cells: list[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()
