"""Who does something, from where and how: what every row of the audit log begins with. (A2)"""

import os
import pwd
from typing import NamedTuple

from fastapi import Request

TOKEN, SESSION, EST, GATEWAY, COMMAND, CLOUD, NOBODY = (
    "token",
    "session",
    "est",
    "gateway",
    "command",
    "cloud",
    "nobody",
)


class Origin(NamedTuple):
    """Where a change comes from; without more, from the cloud itself."""

    actor_kind: str = CLOUD
    """`token` and `session` (of a person) over the API, `est` and `gateway` by their certificates, `command` at the
    data folder, `cloud` for what it does by itself, `nobody` who has not shown who he is."""
    actor: str = ""
    actor_name: str = ""
    address: str = ""
    action: str = ""
    """The operation's id in the OpenAPI document, or what it is called where there is none."""
    method: str = ""
    route: str = ""


def of_request(request: Request) -> Origin:
    """Return the origin of a request whose caller is not known yet."""
    route, address = request.scope["route"], request.client.host if request.client else ""
    return Origin(NOBODY, address=address, action=route.name, method=request.method, route=route.path)


def of_command(action: str) -> Origin:
    """Return the origin of what a command does at the data folder, as the user of the system who runs it."""
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    return Origin(COMMAND, user, action=action)
