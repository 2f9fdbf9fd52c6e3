"""The modules that stay in a board's memory are one, and all that they do is as it was. (F1)"""

import ast

import pytest

from fieldloom_build import bundling, release, umqtt
from fixtures.micropython import run_on_micropython

MODULES = "pump.limits", "pump.valve", "pump.main"
LIMITS = "import os\nfrom binascii import crc32\ndef most(x):\n    return x\n_least = {}"


def bundled(valve="", main="", **others):
    return bundling.bundle({"pump.limits": LIMITS, "pump.valve": valve, "pump.main": main, **others}, MODULES)


def test_modules_run_one_after_the_other_and_share_what_they_import():
    made = bundled("from binascii import crc32, hexlify\nimport os\nx = 1", "y = 2")

    assert made["pump.main"] == f"{LIMITS}\nfrom binascii import hexlify\nx = 1\ny = 2"


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("from pump.limits import most\nx = most(1)", "x = most(1)"),
        ("from pump import limits\nx = limits.most(1)", "x = most(1)"),
        ("from pump import limits as bounds, other\nx = bounds.most(1)", "from pump import other\nx = most(1)"),
        (
            "from pump import limits\nasync def f(most):\n    pass\nx = limits.most",
            "async def f(most):\n    pass\nx = most",
        ),
    ],
)
def test_within_the_bundle_a_name_needs_no_module(source, wanted):
    assert bundled(main=source)["pump.main"] == f"{LIMITS}\n{wanted}"


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("from pump.limits import most as m\nx = m(1)", "from pump.main import most as m\nx = m(1)"),
        ("from pump import limits\nx = limits.most(1)", "from pump.main import most\nx = most(1)"),
        ("from pump import other\nx = other.most", "from pump import other\nx = other.most"),
    ],
)
def test_the_others_import_from_the_bundle(source, wanted):
    assert bundled(**{"pump.side": source})["pump.side"] == wanted


def test_in_the_place_of_a_module_its_public_names_are_found():
    made = bundled("class Valve:\n    pass\n_open = 1")

    assert made["pump.limits"] == "from pump.main import most"
    assert made["pump.valve"] == "from pump.main import Valve"


@pytest.mark.parametrize(
    "sources",
    [
        {"valve": "def most(): pass"},
        {"valve": "_least = 3"},
        {"valve": "from zlib import crc32"},
        {"main": "if x:\n    most = 1"},
        {"main": "from pump.limits import most as m"},
        {"main": "from pump import limits\nx = f(limits)"},
        {"main": "from pump import limits\ndef f(most):\n    return limits.most(1)"},
        {"main": "from pump import limits\ndef f():\n    limits = 1\n    return limits.most"},
        {"pump.side": "from pump import limits\ndef f():\n    for most in x:\n        limits.most(1)"},
    ],
)
def test_a_name_that_would_be_two_things_is_refused(sources):
    with pytest.raises(ValueError, match="something else"):
        bundled(**sources)


def test_a_driver_of_ones_own_finds_what_it_imports(tmp_path):
    for path, content in release.build().items():
        if path.startswith(f"{release.SLOT}/lib/"):
            place = tmp_path / path.removeprefix(f"{release.SLOT}/lib/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)

    said = run_on_micropython(f"""
sys.path[:] = [{str(tmp_path)!r}, ".frozen"]
sys.modules["machine"] = sys
from fieldloom_contract.errors import Rejected
from fieldloom_contract.fields import number
from fieldloom_agent import overlay
from fieldloom_agent.agent import Agent, Rejected as known
assert Rejected is known
try:
    number({{}}, "pin", 0)
except known as error:
    print(error, overlay.call("slots", "other", "a"), Agent.__name__)
""")

    assert said == "pin: must be a whole number b Agent\n"


def test_umqtt_is_there_with_what_the_link_uses_of_it_unchanged():
    source = (release.folder() / "lib" / umqtt.SOURCE).read_text()

    (client,) = [line for line in ast.parse(umqtt.used(source)).body if isinstance(line, ast.ClassDef)]
    whole = next(line for line in ast.parse(source).body if isinstance(line, ast.ClassDef) and line.name == client.name)

    assert sorted(part.name for part in client.body) == sorted(umqtt.USED)
    assert all(any(ast.dump(part) == ast.dump(other) for other in whole.body) for part in client.body)
