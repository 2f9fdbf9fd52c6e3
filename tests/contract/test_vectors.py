"""One set of vectors, run by one runner on both interpreters."""

import json
from pathlib import Path

import pytest

from contract import vectors_runner
from fixtures.micropython import run_on_micropython

VECTORS = sorted((Path(__file__).parent / "vectors").glob("*.json"))


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vectors_on_cpython(path):
    assert vectors_runner.run(json.loads(path.read_text())) == []


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vectors_on_micropython(path):
    script = f"import json, vectors_runner\nprint(vectors_runner.run(json.load(open({str(path)!r}))))"

    assert run_on_micropython(script).strip() == "[]"
