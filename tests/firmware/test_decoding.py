"""A payload on flash is what JSON says it is, with its long texts cut out on the way; the same on both VMs. (F1)"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldloom_agent import decoding
from firmware.vm import run

letters = st.sampled_from(["x", "é", "€", "😀", '"', "\\", "\n", "{", ":", " "])
"""Of one to four bytes, some of which JSON escapes."""
texts = st.builds(
    lambda letter, count, end: letter * count + end, letters, st.integers(0, 900), st.text(letters, max_size=3)
)
documents = st.recursive(
    st.one_of(texts, st.integers(), st.booleans(), st.none()),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(letters, max_size=9), parts, max_size=4),
    max_leaves=8,
).map(lambda value: {"parameters": value})
LONG = {"id": "c1", "parameters": {"name": "relay", "value": "é" * 1900, "more": ["y" * 600, {"z": "z" * 513}]}}

AT_THE_LIMIT = [
    "\n" * 255,
    "\n" * 256,
    "x" + "\n" * 256,
    "\n" * 256 + "x",
    "x" * 510 + "\n",
    "x" * 511 + "\n",
    "x" * 512 + "\n",
]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("flash") / "message"


@given(documents)
def test_a_document_is_what_json_says(file, document):
    file.write_text(json.dumps(document, ensure_ascii=False))

    assert decoding.load(file) == document


@pytest.mark.parametrize("text", AT_THE_LIMIT)
def test_a_text_with_escapes_is_decoded_around_the_length_that_is_long(file, text):
    file.write_text(json.dumps({"a": text, "b": 1}))

    assert decoding.load(file) == {"a": text, "b": 1}


def test_a_board_decodes_alike(tmp_path):
    documents = [LONG, {"a": "\n" * 1500}, {"a": "x" * 513, "b": "\u0000" + "0"}, ["k" * 3000]]
    documents += [{"a": text} for text in ("k" * 511, "k" * 512, "k" * 513, *AT_THE_LIMIT)]
    (tmp_path / "documents").write_text(json.dumps(documents))
    imports = """
from fieldloom_agent import decoding
with open(sys.argv[1]) as file:
    documents = json.load(file)
"""
    script = """
for document in documents:
    with open("/message", "w") as file:
        json.dump(document, file)
    print(decoding.load("/message") == document)
"""
    assert run(imports, script, str(tmp_path / "documents")).split() == ["True"] * len(documents)


@pytest.mark.parametrize("document", [{"n" * 600: 1}, "t" * 600])
def test_a_long_text_that_is_no_value_is_refused(file, document):
    file.write_text(json.dumps(document))

    with pytest.raises(ValueError, match="a name is too long"):
        decoding.load(file)


@pytest.mark.parametrize("text", ['{"a": "' + "x" * 600, '{"a": "' + "x" * 600 + '"', "{", ""])
def test_what_is_cut_off_is_no_json(file, text):
    file.write_text(text)

    with pytest.raises(ValueError):
        decoding.load(file)
