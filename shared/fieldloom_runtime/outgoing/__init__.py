"""Calls that go out of a tier: to people by a notification, to web servers by HTTP. (E3; ADR 44)

    outgoing = Outgoing(data)               # reads notifications.yaml and webhooks.yaml of the tier's data folder
    result = await outgoing.perform(effect) # or NotPerformed, which says whether another try may help

An effect may be performed again after a crash: its id goes with an HTTP call as `webhook-id` and `Idempotency-Key`.
"""

from fieldloom_runtime.outgoing.calls import Calls
from fieldloom_runtime.outgoing.effect import Effect, NotPerformed
from fieldloom_runtime.outgoing.outgoing import KINDS, Outgoing
from fieldloom_runtime.outgoing.trial import MESSAGE, notify

__all__ = ["KINDS", "MESSAGE", "Calls", "Effect", "NotPerformed", "Outgoing", "notify"]
