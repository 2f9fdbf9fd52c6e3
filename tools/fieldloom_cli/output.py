"""How answers are shown: a table for people, one JSON document for scripts."""

import json
from collections.abc import Iterable
from typing import Any


def show_json(value: Any) -> None:
    """Print one JSON document."""
    print(json.dumps(value, ensure_ascii=False))


def show_table(columns: list[str], rows: Iterable[Iterable[Any]]) -> None:
    """Print rows under their headings; a missing value is a dash."""
    from rich.console import Console  # noqa: PLC0415 - scripts ask for JSON
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        # Escaped: rich takes [a-z] for markup, and shows nothing of it.
        table.add_row(*("-" if cell is None or cell == "" else escape(str(cell)) for cell in row))
    Console().print(table)
