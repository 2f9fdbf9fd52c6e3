"""Effects that are rows of the gateway's database: done in the transaction of their firing, so exactly once. (E3)"""

from typing import Any

import msgspec

from fieldloom_contract import messages, topics
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import text
from fieldloom_contract.limits import MAX_DOWN_BYTES
from fieldloom_engine import commands
from fieldloom_engine.holds import asked_by
from fieldloom_engine.rules import WITHDRAW, Effect, Firing
from fieldloom_engine.twin import Patch
from fieldloom_gateway.automation.alarms.service import Alarms
from fieldloom_gateway.automation.alarms.words import MESSAGE, Marked
from fieldloom_gateway.automation.effects import DONE, FAILED, NOT_TAKEN, SENT, Deed, Outcome
from fieldloom_gateway.automation.holds.service import Holds
from fieldloom_gateway.automation.latest import Latest
from fieldloom_gateway.automation.workflows.service import Workflows
from fieldloom_gateway.ingest.down import Command, Down
from fieldloom_gateway.ingest.judge import Downward, Order
from fieldloom_gateway.ingest.twins import Twins

_encode = msgspec.json.Encoder().encode  # the contract's own is as dear as all else of a command together


class Deeds:
    """What devices are to be told of what was done collects in `messages`; commands are kept by `write`."""

    def __init__(
        self, down: Down, twins: Twins, alarms: Alarms, latest: Latest, workflows: Workflows, holds: Holds
    ) -> None:
        self._down = down
        self._holds = holds
        self._twins = twins
        self._alarms = alarms
        self._latest = latest
        self._commands: list[Command] = []
        self._workflows = workflows
        self.messages: list[Downward] = []

    def write(self) -> None:
        """Write what was done since the last time and has yet to be written."""
        if self._commands:
            self._down.keep(self._commands)
            self._commands.clear()

    def forget(self) -> None:
        """Undo what memory took of a transaction that was rolled back."""
        self._commands.clear()
        self.messages.clear()

    def by_kind(self) -> dict[str, Deed]:
        """Return what does each kind; what can't be done is an outcome too."""
        return {
            "command": _told(self._command),
            "set_twin": _told(self._set_twin),
            "raise_alarm": _told(self._raise_alarm),
            "clear_alarm": _told(self._clear_alarm),
            WITHDRAW: _told(self._withdraw),
            "latest": _told(self._read_latest),
            "start_workflow": _told(self._start_workflow),
        }

    def _command(self, firing: Firing, effect: Effect, now: int) -> Outcome:
        told = effect.parameters
        device, expires = topics.device_id(told["device_id"]), now + told["expires"]
        checked = messages.checked_command(effect.id, told["type"], told["parameters"], expires)
        if (word := self._down.word(effect.id, device)) is not None:  # on what another gateway has asked for
            ended = commands.ended(word.status, word.result, word.error)
            return Outcome(DONE if ended.succeeded else FAILED, ended.result, ended.error)
        asked = asked_by(firing.asks, _owner(firing), told.get("hold"), now)
        order = Order(effect.id, device, checked["type"], checked["parameters"], expires, *asked)
        verdict = self._holds.admit(order, now)
        if verdict.refused is not None:
            ended = commands.ended(commands.REJECTED, None, verdict.refused)
            return Outcome(FAILED, ended.result, ended.error)
        if not verdict.passes:
            return Outcome(SENT)  # it is told to its device, or refused, once its hold is in the map
        payload = messages.fitting(_encode(checked), MAX_DOWN_BYTES)
        command = Command(effect.id, device, payload, expires, _encode(order.source))
        self._commands.append(command)
        self.messages.append(command.message)
        return Outcome(SENT)

    def _set_twin(self, _: Firing, effect: Effect, now: int) -> Outcome:
        device, desired = topics.device_id(effect.parameters["device_id"]), effect.parameters["desired"]
        if not isinstance(desired, dict):
            raise Rejected("desired", "must be an object")
        if (refused := self._twins.ask(device, Patch(effect.id, desired), now)) is not None:
            return Outcome(FAILED, error=NOT_TAKEN.format(refused))
        return Outcome(SENT)

    def _raise_alarm(self, firing: Firing, effect: Effect, now: int) -> Outcome:
        told = effect.parameters
        message = told.get("message", "")[:MESSAGE]
        begins = Marked(*_alarm(told), effect.id, firing.at, True, firing.rule, told["severity"], message)
        self._alarms.mark(begins, now)
        return Outcome(DONE)

    def _clear_alarm(self, firing: Firing, effect: Effect, now: int) -> Outcome:
        self._alarms.mark(Marked(*_alarm(effect.parameters), effect.id, firing.at, False, firing.rule), now)
        return Outcome(DONE)

    def _withdraw(self, _: Firing, effect: Effect, now: int) -> Outcome:
        told = effect.parameters
        self._alarms.withdraw(*_alarm(told), told["effect"], effect.id, now)
        return Outcome(DONE)

    def _read_latest(self, _: Firing, effect: Effect, __: int) -> Outcome:
        device, metric = effect.parameters["device_id"], effect.parameters["metric"]
        found = self._latest.of(device, metric)
        if found is None:
            return Outcome(FAILED, error=f"no value of {metric} of {device} has come since the rule was put to work")
        return Outcome(DONE, found)

    def _start_workflow(self, firing: Firing, effect: Effect, now: int) -> Outcome:
        told = effect.parameters
        if not isinstance(told["variables"], dict):
            raise Rejected("variables", "must be an object")
        device = {"device_id": firing.event.source} if firing.event.source else {}
        parent = self._workflows.asker(effect.id)
        self._workflows.request(told["workflow"], effect.id, device | told["variables"], now, parent=parent)
        return Outcome(DONE, {"instance": effect.id}) if parent is None else Outcome(SENT)


def _told(deed: Deed) -> Deed:
    """Return a deed of which Rejected is an outcome like others."""

    def do(firing: Firing, effect: Effect, now: int) -> Outcome:
        try:
            return deed(firing, effect, now)
        except Rejected as error:
            return Outcome(FAILED, error=str(error))

    return do


def _owner(firing: Firing) -> str:
    """Return whose a firing's commands are: a rule's, or those of an instance of a workflow."""
    return firing.rule if firing.asks == "rule" else f"{firing.rule}/{firing.event.id}"


def _alarm(told: dict[str, Any]) -> tuple[str, str]:
    """Return whose alarm it is, and its name. Raises Rejected."""
    return topics.device_id(told["device_id"]), text(told, "alarm")
