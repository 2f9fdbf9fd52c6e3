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
    parameters: dict[str, Any]
    """As the file and the defaults have them."""
    fills: Mapping[str, Render]
    """What fills those that are templates."""
    texts: frozenset[str]
    """Those of them that have to become texts."""
    is_free: bool
    """Whether all others of them may become whatever they do."""

    def fill(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters, its templates filled with what is known. Raises NotFilled."""
        try:
            return self._filled(known) if self.fills else self.parameters
        except TemplateFailed as error:
            raise NotFilled(f"template: {error}") from error
        except ValidationError as error:
            raise NotFilled(f"what the templates gave: {faults_of(error)[0]}") from error

    def _filled(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Hold against the kind only what may not be right: its validation is as dear as all else of a firing."""
        gave: dict[str, Any] = {}
        is_right = self.is_free
        for name, fill in self.fills.items():
            gave[name] = value = fill(known)
            if value is None or (name in self.texts and (not value or value.__class__ is not str)):
                is_right = False
        return self.parameters | gave if is_right else self.kind.filled(self.action.told | gave)


def prepared(action: Action, kinds: Mapping[str, Kind], names: Collection[str] | None = templates.NAMES) -> Prepared:
    """Return an action, compiled; `names` are those that its templates may use, None for any."""
    kind = kinds[action.kind]
    parameters = kind.filled(action.told)
    fills = templates.fillings(parameters, names)
    texts = frozenset(filter(kind.is_text, fills))
    is_free = all(kind.is_free(name, parameters[name]) for name in fills.keys() - texts)
    return Prepared(action, kind, parameters, fills, texts, is_free)
