"""Stages that change a reading: its unit, its name, its tags. (T2, T3)

pint and CEL take long to load, so only a definition that names a unit or an expression does.
"""

import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from fieldloom_contract.limits import MAX_NAME
from fieldloom_engine import expressions
from fieldloom_engine.definitions import kept
from fieldloom_engine.transformers.definition import MAX_TAGS, Convert, Rename
from fieldloom_engine.transformers.reading import Reading, StageFailed, number_of

# Products and quotients of units with small exponents: pint's own reader would also work out `m**9**9**9`.
UNIT = re.compile(r"[^\W\d]\w*(?:(?:\*\*|\^)-?[1-9])?(?: ?[*/] ?[^\W\d]\w*(?:(?:\*\*|\^)-?[1-9])?)*")
EXAMPLE = {"value": 1.0, "ts": 0, "device": "a", "metric": "a"}  # of what an expression knows
LINEAR = 1e-9  # what a conversion may stray from a straight line, relative to its values


class Conversion:
    """A number times a scale plus an offset; null stays null."""

    def __init__(self, scale: float, offset: float) -> None:
        self._scale, self._offset = scale, offset

    def apply(self, reading: Reading) -> bool:
        """Return True. Raises StageFailed."""
        if reading.value is not None:
            reading.value = _finite(number_of(reading.value, "converted") * self._scale + self._offset)
        return True

    def forget(self) -> None:
        """Remember nothing, as always."""


class Expression:
    """A CEL expression; null stays null."""

    def __init__(self, execute: Callable[[dict[str, Any]], Any]) -> None:
        self._execute = execute

    def apply(self, reading: Reading) -> bool:
        """Return True. Raises StageFailed."""
        if reading.value is None:
            return True
        value = float(reading.value) if type(reading.value) is int else reading.value
        known = {"value": value, "ts": reading.ts, "device": reading.device, "metric": reading.metric}
        try:
            found = self._execute(known)
        except expressions.FAILURES as error:
            raise StageFailed(str(error)) from error
        if not isinstance(found, (int, float, str)) and found is not None:
            raise StageFailed(f"the expression gives a {type(found).__name__}, no number, boolean, text or null")
        try:
            reading.value = kept(found)
        except ValueError as error:
            raise StageFailed(f"the result {error}") from error
        return True

    def forget(self) -> None:
        """Remember nothing, as always."""


class Tagging:
    """Static tags; one of the same name is replaced."""

    def __init__(self, told: Mapping[str, str]) -> None:
        self._tags = dict(told)

    def apply(self, reading: Reading) -> bool:
        """Return True. Raises StageFailed."""
        reading.tags = {**reading.tags, **self._tags}
        if len(reading.tags) > MAX_TAGS:
            raise StageFailed(f"the reading has more than {MAX_TAGS} tags")
        return True

    def forget(self) -> None:
        """Remember nothing, as always."""


class Renaming:
    """Another name for a metric."""

    def __init__(self, told: Rename) -> None:
        self._to = told.to

    def apply(self, reading: Reading) -> bool:
        """Return True. Raises StageFailed."""
        name = self._to.replace("{metric}", reading.metric)
        if len(name) > MAX_NAME:
            raise StageFailed(f"the name {name:.80} has more than {MAX_NAME} characters")
        reading.metric = name
        return True

    def forget(self) -> None:
        """Remember nothing, as always."""


def conversion(told: Convert) -> Conversion | Expression:
    """Return the stage of a definition. Raises ValueError that says what is wrong."""
    if told.expression is not None:
        return Expression(expressions.compiled(told.expression, EXAMPLE))
    if told.from_ is not None and told.to is not None:
        return Conversion(*_linear(told.from_, told.to))
    return Conversion(1.0 if told.scale is None else told.scale, told.offset or 0.0)


def _linear(source: str, target: str) -> tuple[float, float]:
    """Return (scale, offset) between two units, asked of pint once."""
    for unit in (source, target):
        if not UNIT.fullmatch(unit):
            raise ValueError(f"{unit} is no unit: write it as `degF`, `km/h`, `m**3/h`")
    units = _units()
    try:
        at = [float(units.Quantity(value, source).to(target).magnitude) for value in (0.0, 1.0, 1000.0)]
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:  # pint's own are of these
        raise ValueError(str(error)) from error
    scale, offset = at[1] - at[0], at[0]
    if abs(at[2] - (scale * 1000 + offset)) > LINEAR * max(map(abs, at), default=1) * 1000:
        raise ValueError(f"from {source} to {target} is no straight line: give an expression")
    return scale, offset


@cache
def _units() -> Any:
    import pint  # noqa: PLC0415 - it takes a second to load

    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True)


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise StageFailed("the result is no finite number")
    return number
