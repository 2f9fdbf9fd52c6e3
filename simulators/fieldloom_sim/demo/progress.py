"""How far a start is: beside a spinner on a terminal, else a line each, but for what is only counted."""

from rich.console import Console
from rich.status import Status

COUNTED = ("boards: ", "identities: ")


def show(screen: Console, status: Status, line: str) -> None:
    """Tell the user a line."""
    if screen.is_terminal:
        status.update(line)
    elif not line.startswith(COUNTED):
        screen.print(line, highlight=False)
