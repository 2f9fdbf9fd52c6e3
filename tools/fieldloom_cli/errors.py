"""What ends a command.

CommandFailed                    exit code 1: a line that says what is wrong and what to do
├── Unreachable                  the cloud does not answer
├── NotFound                     exit code 3
└── Refused                      exit code 4: a token or a role that may not
"""


class CommandFailed(Exception):  # noqa: N818 - it reads as what happened
    """A failure that the user can act on; the message is one line with the way out."""

    exit_code = 1


class Unreachable(CommandFailed):
    """The cloud does not answer."""


class NotFound(CommandFailed):
    """There is no such thing."""

    exit_code = 3


class Refused(CommandFailed):
    """The cloud does not let this token do that."""

    exit_code = 4
