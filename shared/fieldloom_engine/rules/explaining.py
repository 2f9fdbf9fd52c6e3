"""Why a rule fires for an event, or does not: which part held, which did not, with the values. (E10)"""

from typing import Any, NamedTuple

from pydantic import BaseModel

from fieldloom_engine.rules.compiling import Compiled
from fieldloom_engine.rules.event import Event
from fieldloom_engine.rules.judging import Memory, Test
from fieldloom_engine.rules.state import State, judge


class Part(NamedTuple):
    """A condition, and whether it holds; None when the event does not tell."""

    kind: str
    told: Any
    holds: bool | None
    values: dict[str, Any]
    parts: tuple["Part", ...]

    def as_json(self) -> dict[str, Any]:
        """Return it with all within as JSON has it; what stands under the key as it stands in a file."""
        told = self.told.model_dump(mode="json", by_alias=True) if isinstance(self.told, BaseModel) else self.told
        return {**self._asdict(), "told": told, "parts": [part.as_json() for part in self.parts]}


class Explanation(NamedTuple):
    """What a rule makes of an event."""

    rule: str
    version: str
    fires: bool
    reason: str
    """Why it fires or not, in a few words."""
    condition: Part

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**self._asdict(), "condition": self.condition.as_json()}


def explain(compiled: Compiled, event: Event, state: State | None) -> Explanation:
    """Return what a rule makes of an event that would come next, with what is remembered of its source. Pure."""
    before = State(compiled.fresh()) if state is None else state
    if not compiled.sees(event.type):
        return _explanation(compiled, event, before.copy(), False, f"it does not see events of type {event.type}")
    if not compiled.is_stateless and event.key <= before.key:
        reason = "it is older than what was judged: its place in the history decides"
        return _explanation(compiled, event, before.copy(), False, reason)
    after = before.copy()
    fires = judge(compiled, after, event) is not None
    return _explanation(compiled, event, after, fires, _reason(compiled, event, before, after, fires))


def _reason(compiled: Compiled, event: Event, before: State, after: State, fires: bool) -> str:
    holds = compiled.holds(event, after.memory, event.ts)
    if holds is None:
        return "the event does not tell whether it holds"
    if not holds:
        return "it held and holds no more" if fires else "it does not hold"
    if fires:
        return "it begins to hold" if compiled.on_change else "it holds"
    if compiled.on_change and before.holds:
        return "it held before"
    return f"it fired at {before.fired_at}, and its cooldown of {compiled.cooldown} ms is not over"


def _explanation(compiled: Compiled, event: Event, state: State, fires: bool, reason: str) -> Explanation:
    rule = compiled.rule
    return Explanation(rule.id, rule.version, fires, reason, _part(compiled.test, event, state.memory))


def _part(test: Test, event: Event, memory: Memory) -> Part:
    parts = tuple(_part(part, event, memory) for part in test.parts)
    values = test.measures(event, memory, event.ts)
    return Part(test.kind, test.told, test.holds(event, memory, event.ts), values, parts)
