"""Who has asked is told what came of it: the cloud of its requests, an instance of the one that it waits for. (W7)"""

from collections.abc import Callable

from fieldloom_engine.workflows import Instance
from fieldloom_gateway.automation.effects import DONE, FAILED, START, Effects
from fieldloom_gateway.automation.effects import Outcome as Ending
from fieldloom_gateway.automation.workflows.inbox import Begins, Came, Moves, Outcome, Told
from fieldloom_runtime.records import Event, Record

ANSWERED = "workflow.answered"


class Answers:
    """All of it belongs into a transaction of its caller; `tell` sends a record up, `now` is Unix ms.

    `tell_parent` has an instance know that another gateway has.
    """

    def __init__(self, gateway: str, tell: Callable[[Record], None], tell_parent: Callable[[Outcome], None]) -> None:
        self._gateway = gateway
        self._tell = tell
        self._tell_parent = tell_parent

    def take(self, told: Told, reason: str | None, performer: Effects, now: int) -> None:
        """Tell of a happening that was taken; `reason` says why it did nothing."""
        if isinstance(told, (Came, Outcome, Moves)):
            return
        instance = told.id if isinstance(told, Begins) else told.instance
        if isinstance(told, Begins) and reason is not None:
            self._conclude(instance, told.parent, Ending(FAILED, error=reason), performer, now)
        if told.request:
            self.answer(told.request, instance, reason, now)

    def answer(self, request: str, instance: str, reason: str | None, now: int) -> None:
        """Tell the cloud that what it asked for was taken, or why not."""
        data = {"request": request, "instance": instance, "refused": reason}
        self._tell(Event(self._gateway, now, now, type=ANSWERED, data=data))

    def end(self, instance: Instance, performer: Effects, now: int) -> None:
        """Tell who waits for an instance how it has ended."""
        error = f"{instance.workflow} has {instance.status}: {instance.reason or instance.failure}"
        ending = Ending(DONE, instance.output) if instance.status == "succeeded" else Ending(FAILED, error=error)
        self._conclude(instance.id, instance.metadata.get("parent"), ending, performer, now)

    def _conclude(self, name: str, parent: str | None, ending: Ending, performer: Effects, now: int) -> None:
        if not performer.conclude(START, name, ending, now) and parent is not None:
            self._tell_parent(Outcome(parent, name, ending.status == DONE, ending.result, ending.error))
