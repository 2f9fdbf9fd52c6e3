"""Actions, compiled once: what they ask for when they are done. (E3, E4)"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from fieldloom_engine.definitions import faults_of
from fieldloom_engine.rules import templates
from fieldloom_engine.rules.action_list import Action
from fieldloom_engine.rules.actions import Kind
from fieldloom_engine.rules.templates import Render, TemplateFailed


class NotFilled(Exception):  # noqa: N818 - it reads as what happened
    """An action that can't be done with what is known; the text says why."""


class Prepared(NamedTuple):
    """An action, compiled."""

    action: Action
    kind: Kind
    render: Render | None
    parameters: dict[str, Any]
    """Where there is nothing to render."""

    def fill(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters, its templates filled with what is known. Raises NotFilled."""
        if self.render is None:
            return self.parameters
        try:
            return self.kind.filled(self.render(known))
        except TemplateFailed as error:
            raise NotFilled(f"template: {error}") from error
        except ValidationError as error:
            raise NotFilled(f"what the templates gave: {faults_of(error)[0]}") from error


def prepared(action: Action, kinds: Mapping[str, Kind], names: Collection[str] | None = templates.NAMES) -> Prepared:
    """Return an action, compiled; `names` are those that its templates may use, None for any."""
    kind = kinds[action.kind]
    render = templates.rendering(kind.template_defaults() | action.told, names)
    return Prepared(action, kind, render, kind.filled(action.told) if render is None else {})
