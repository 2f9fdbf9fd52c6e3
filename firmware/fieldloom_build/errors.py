"""What keeps a board from being built or flashed; each is a line with the way out.

BuildFailed
├── NoPort              nothing is at that path
├── PortBusy            another program has it, or this user may not
├── NoAnswer            nothing there speaks as MicroPython does
├── WrongMicroPython    too old, or another Python
├── BoardFull           its file system has no room
└── NoCheckIn           flashed, but the cloud does not see it
"""

from fieldloom_cli.errors import CommandFailed


class BuildFailed(CommandFailed):
    """A board could not be built or flashed."""


class NoPort(BuildFailed):
    """There is no such port."""


class PortBusy(BuildFailed):
    """The port can't be opened."""


class NoAnswer(BuildFailed):
    """No MicroPython answers."""


class WrongMicroPython(BuildFailed):
    """The board runs what our firmware does not run on."""


class BoardFull(BuildFailed):
    """The board's file system has no room."""


class NoCheckIn(BuildFailed):
    """The cloud has not heard from the board in time."""
