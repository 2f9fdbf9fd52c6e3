"""Templates in actions: Jinja2 in a sandbox that bounds size and time. (E4)

A template is data of a person who may deploy, filled with data of a device: neither may read what is not given, build
what does not fit, or take long. So there are no calls, no loops, no attributes of objects, few filters; operators work
on numbers, and what they make of texts is bounded. What is left takes time that grows with the template's length.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from fieldloom_contract.errors import Rejected
from fieldloom_contract.plain import plain
from fieldloom_engine.definitions import Path

MAX_TEMPLATE = 4096
MAX_RENDERED = 65_536
NAMES = ("at", "cause", "data", "device_id", "event", "metadata", "rule")

_WHOLE = re.compile(r"\s*\{\{((?:(?!\{\{|\}\}).)*)\}\}\s*", re.DOTALL)
_PLAIN = re.compile(r"(?!(?:and|else|false|if|in|is|none|not|or|true)\b)([a-z_]\w*)(?:\.([A-Za-z_]\w*))?", re.ASCII)
"""An expression that only names something: it needs no Jinja2, and most are like this."""
_STARTS = ("{{", "{%", "{#")

Render = Callable[[Mapping[str, Any]], Any]


class TemplateFailed(Exception):  # noqa: N818 - it reads as what happened
    """A template that can't be filled with what an event has; the text says why."""


def is_template(text: str) -> bool:
    """Whether a text has places to fill."""
    return any(start in text for start in _STARTS)


def compiled(text: str, names: Collection[str] | None = NAMES) -> Render:
    """Return what fills a template. Raises ValueError that says what is wrong with it.

    `names` are those that it may use, None for any: one that is not known when it is filled fails there.
    A template that is one expression as a whole gives the expression's value, of whatever type. Filling raises
    TemplateFailed.
    """
    if len(text) > MAX_TEMPLATE:
        raise ValueError(f"has more than {MAX_TEMPLATE} characters")
    if (whole := _WHOLE.fullmatch(text)) and (plain := _PLAIN.fullmatch(whole[1].strip())):
        _hold_to_names({plain[1]}, names)
        return _named([step for step in plain.groups() if step])
    import jinja2  # noqa: PLC0415 - only who has such a template loads it
    from jinja2 import meta  # noqa: PLC0415

    environment = _environment()
    try:
        tree = environment.parse(text)
        _hold_to_bounds(tree)
        _hold_to_names(meta.find_undeclared_variables(tree), names)
        if whole:
            value = environment.compile_expression(whole[1].strip(), undefined_to_none=False)
            return lambda known: _kept(_checked(_filled(lambda: value(known))))
        template = environment.from_string(text)
    except (jinja2.TemplateError, RecursionError, SyntaxError, OverflowError) as error:
        raise ValueError(str(error) or "is nested too deeply") from error
    return lambda known: _kept(_filled(lambda: _joined(template.generate(known))))


def names_in(text: str) -> set[str]:
    """Return the names that a well-formed template uses."""
    if (whole := _WHOLE.fullmatch(text)) and (plain := _PLAIN.fullmatch(whole[1].strip())):
        return {plain[1]}
    from jinja2 import meta  # noqa: PLC0415 - only who has such a template loads it

    return set(meta.find_undeclared_variables(_environment().parse(text)))


def within(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Return the templates in a value of JSON that stands at a path, each with its own."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from within(part, (*path, name))
    elif isinstance(value, list):
        for at, part in enumerate(value):
            yield from within(part, (*path, at))
    elif isinstance(value, str) and is_template(value):
        yield path, value


def rendering(value: Any, names: Collection[str] | None = NAMES) -> Render | None:
    """Return what fills all templates in a value of JSON, None when it has none. Raises ValueError."""
    if isinstance(value, str):
        return compiled(value, names) if is_template(value) else None
    if isinstance(value, Mapping):
        fills = fillings(value, names)
        return (lambda known: dict(value) | {name: fill(known) for name, fill in fills.items()}) if fills else None
    if isinstance(value, list):
        items = [(part, rendering(part, names)) for part in value]
        if all(fill is None for _, fill in items):
            return None
        return lambda known: [fill(known) if fill is not None else part for part, fill in items]
    return None


def fillings(value: Mapping[str, Any], names: Collection[str] | None = NAMES) -> dict[str, Render]:
    """Return what fills those values of a mapping that have templates, by name. Raises ValueError."""
    found = {name: rendering(part, names) for name, part in value.items()}
    return {name: fill for name, fill in found.items() if fill is not None}


def _named(path: list[str]) -> Render:
    """Return what gives the value at a path."""

    def fill(known: Mapping[str, Any]) -> Any:
        value: Any = known
        for step in path:
            if not isinstance(value, Mapping) or step not in value:
                raise TemplateFailed(f"{step!r} is not known here")
            value = value[step]
        return _bounded(value)

    return fill


def _filled(fill: Callable[[], Any]) -> Any:
    import jinja2  # noqa: PLC0415 - it is loaded already

    try:
        return fill()
    except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise TemplateFailed(str(error)) from error


def _checked(value: Any) -> Any:
    import jinja2  # noqa: PLC0415 - it is loaded already

    if isinstance(value, jinja2.Undefined):
        raise TemplateFailed(f"{value._undefined_name!r} is not known here")  # noqa: SLF001 - its only way to tell
    return value


def _joined(pieces: Iterable[str]) -> str:
    """Return pieces as one text, as long as it is no longer than one may be."""
    text = ""
    for piece in pieces:
        text = _bounded(text + piece)
    return text


def _bounded(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MAX_RENDERED:
        raise TemplateFailed(f"gives a text of more than {MAX_RENDERED} characters")
    return value


def _kept(value: Any) -> Any:
    """Return what was worked out, if every side can keep it; objects and lists are as they were given."""
    if isinstance(value, (Mapping, list)):
        return value
    try:
        return plain(_bounded(value), "template")
    except Rejected as error:
        raise TemplateFailed(f"what it gives {error.reason}") from error


def _hold_to_bounds(tree: Any) -> None:
    """Refuse what may take long or reach further. Raises ValueError."""
    from jinja2 import nodes  # noqa: PLC0415 - it is loaded already

    allowed = (
        *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.CondExpr, nodes.Const, nodes.Name),
        *(nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.Test, nodes.Compare, nodes.Operand, nodes.Keyword),
        *(nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos),
        *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod),
    )
    if refused := next((node for node in tree.find_all(nodes.Node) if not isinstance(node, allowed)), None):
        raise ValueError(f"{type(refused).__name__.lower()} is not allowed in a template")


def _hold_to_names(used: set[str], names: Collection[str] | None) -> None:
    """Refuse a name that is not among those known. Raises ValueError."""
    if names is not None and (unknown := sorted(used.difference(names))):
        raise ValueError(f"{unknown[0]!r} is not known here: there are {', '.join(names)}")


@cache
def _environment() -> Any:
    """Return the sandbox."""
    from jinja2 import StrictUndefined  # noqa: PLC0415 - only who has a template loads it
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%"))

        def call_binop(self, _context: Any, operator: str, left: Any, right: Any) -> Any:
            if not _is_number(left) or not _is_number(right):
                raise TypeError(f"{operator} needs two numbers")
            return self.binop_table[operator](left, right)

        def getattr(self, obj: Any, attribute: str) -> Any:
            return self.getitem(obj, attribute)

        def getitem(self, obj: Any, argument: Any) -> Any:
            found = isinstance(obj, Mapping) and isinstance(argument, str) and argument in obj
            if found or (isinstance(obj, list) and isinstance(argument, int) and -len(obj) <= argument < len(obj)):
                return obj[argument]
            return self.undefined(obj=obj, name=argument)

    sandbox = Sandbox(undefined=StrictUndefined, autoescape=False)
    sandbox.globals.clear()
    own = {"json": _json, "json_escape": _json_escape, "length": len, "lower": _lower, "rfc3339": _rfc3339}
    own |= {"round": _round, "upper": _upper}
    sandbox.filters = own | {name: sandbox.filters[name] for name in ("abs", "default", "float", "int", "trim")}
    sandbox.tests = {name: sandbox.tests[name] for name in ("defined", "undefined", "none", "number", "string")}
    return sandbox


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _json_escape(value: Any) -> str:
    """Return a text as it stands between the quotes of a JSON text."""
    return json.dumps(str(value), ensure_ascii=False)[1:-1]


def _lower(value: Any) -> str:
    return str(value).lower()


def _round(value: float, digits: int = 0) -> float:
    """Return a number with so many decimals, whole numbers as they are."""
    return round(value, max(0, min(digits, 15)))


def _upper(value: Any) -> str:
    return str(value).upper()


def _rfc3339(ts: int) -> str:
    """Return Unix ms as an instant of UTC with milliseconds."""
    return datetime.fromtimestamp(ts / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
