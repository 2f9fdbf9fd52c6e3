"""What a request has for gateways goes down as soon as its transaction is committed."""

from fastapi import BackgroundTasks, Depends, Request


def _wake(request: Request, after: BackgroundTasks) -> None:
    after.add_task(request.app.state.wake_downlink)


SENDS_DOWN = [Depends(_wake)]
"""The `dependencies` of a route that sends something down."""
