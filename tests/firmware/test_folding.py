"""Constants are where they are used in a board's modules, and nothing else has changed. (F1)"""

import ast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldloom_build import release
from fieldloom_build.folding import fold
from fixtures.micropython import run_on_micropython

LIMITS = "from micropython import const\nLONGEST = const(2**6)\n_OWN = 'x'\nTABLE = {1: LONGEST}\n"


def folded(source, **others):
    return fold({"pump.limits": LIMITS, "pump.main": source, **others})


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("from pump.limits import LONGEST\nx = LONGEST", "_LONGEST = const(2 ** 6)\nx = _LONGEST"),
        ("from pump.limits import LONGEST as most\nx = most", "_LONGEST = const(2 ** 6)\nx = _LONGEST"),
        (
            "from pump import limits\nx = limits.LONGEST",
            "_LONGEST = const(2 ** 6)\nfrom pump import limits\nx = _LONGEST",
        ),
        ("from pump.limits import LONGEST, TABLE", "from pump.limits import TABLE"),
        (
            "from pump.limits import LONGEST\ndef f(a=LONGEST): pass",
            "_LONGEST = const(2 ** 6)\n\ndef f(a=_LONGEST):\n    pass",
        ),
        ("NAME = 'a'\nx = NAME", "_NAME = const('a')\nx = _NAME"),
        ("UNUSED = 1", ""),
        ("ONE = OTHER = 1", "ONE = OTHER = 1"),
        ("TWICE = 1\nTWICE = 2", "TWICE = 1\nTWICE = 2"),
        ("LATER = f()\nlower = 1", "LATER = f()\nlower = 1"),
        ("LONG = b'x' * 9", "LONG = b'x' * 9"),
        ("from fieldloom_contract.compat import Any, const, encode", "from fieldloom_contract.compat import encode"),
        ("__all__ = ['x']\nx = 1", "x = 1"),
    ],
)
def test_a_constant_goes_where_it_is_used(source, wanted):
    assert folded(source)["pump.main"] == wanted


def test_what_is_made_for_tools_alone_is_not_made():
    source = (
        "try:\n    from typing import Any\nexcept ImportError:\n    Any = object\ntry:\n    x = 1\nfinally:\n    y = 2"
    )

    assert fold({"fieldloom_contract.compat": source}) == {
        "fieldloom_contract.compat": "try:\n    x = 1\nfinally:\n    y = 2"
    }
    assert fold({"pump.main": source})["pump.main"].startswith("try:\n    from typing import Any")


def test_where_it_was_it_costs_nothing_either():
    assert folded("")["pump.limits"] == (
        "_LONGEST = const(2 ** 6)\nfrom micropython import const\nTABLE = {1: _LONGEST}"
    )


@pytest.mark.parametrize(
    "source",
    [
        "from pump.limits import LONGEST\n_LONGEST = 3\nx = LONGEST + _LONGEST",
        "from pump.limits import LONGEST\n_LONGEST = {}\nx = LONGEST",
        "from pump import limits\n_LONGEST = f()\nx = limits.LONGEST",
    ],
)
def test_a_name_with_two_values_is_a_fault(source):
    with pytest.raises(ValueError, match=r"_LONGEST would have two values in pump\.main"):
        folded(source)


def test_a_constant_that_is_bound_again_where_it_is_imported_is_a_fault():
    with pytest.raises(ValueError, match=r"LONGEST would have two values in pump\.main"):
        folded("from pump.limits import LONGEST\nLONGEST = 3")


NAMES = st.sampled_from(["A", "B", "_C", "LIMIT"])
VALUES = st.one_of(st.integers(-(2**70), 2**70), st.text(max_size=20), st.binary(max_size=20))


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(NAMES, VALUES, min_size=1), st.data())
def test_what_a_module_computes_stays(constants, data):
    used = data.draw(st.lists(st.sampled_from(sorted(constants)), min_size=1))
    source = "".join(f"{name} = {value!r}\n" for name, value in constants.items())
    source += f"def f():\n    return [{', '.join(used)}]\nfound = f()\n"

    names = {"const": lambda value: value}
    exec(fold({"m": source})["m"], names)

    assert names["found"] == [constants[name] for name in used]


def test_a_board_keeps_no_name_of_the_limits(tmp_path):
    """By the names that the VM holds once it has imported what stays in memory."""
    for path, content in release.build().items():
        place = tmp_path / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    script = f"sys.path.insert(0, {str(tmp_path / 'a/lib')!r})\nfrom fieldloom_agent import connection, buffer, log\n"

    said = run_on_micropython(script + "import micropython\nmicropython.qstr_info(1)", heap="8m")

    names = {line[2:-1] for line in said.splitlines() if line.startswith("Q(")}
    limits = ast.parse((release.folder().parent / "shared/fieldloom_contract/limits.py").read_text())
    defined = {line.targets[0].id for line in limits.body if isinstance(line, ast.Assign)}
    assert "_tell_state" in names
    assert len(defined) > 20
    assert names.isdisjoint(defined)
