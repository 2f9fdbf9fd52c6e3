"""The contract under bad input, on both interpreters: any bytes become a value or are rejected by a field. (T1)"""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import corpus, outcomes
from fieldloom_contract import messages
from fieldloom_contract.errors import Rejected
from fixtures.micropython import run_on_micropython

SEED = 20261126
CASES = 6000


def alike(here, there):
    """Whether two outcomes are the same; the board's reader rounds a decimal's last bit differently."""
    if isinstance(here, float) and isinstance(there, (int, float)):
        return math.isclose(here, there, rel_tol=1e-12, abs_tol=1e-300)
    if isinstance(here, dict) and isinstance(there, dict):
        return here.keys() == there.keys() and all(alike(here[key], there[key]) for key in here)
    if isinstance(here, list) and isinstance(there, list):
        return len(here) == len(there) and all(alike(*pair) for pair in zip(here, there, strict=True))
    return here == there


def read_more_leniently(here, there):
    """Whether a difference is that of the readers, which is allowed: CPython's is strict, a board's is not.

    MicroPython's json takes missing, doubled and trailing commas and colons, leading zeros, `1.`, any escape, control
    characters in texts, keys that are no texts, a NUL as the end, overlong UTF-8, repeated keys (the last counts) and
    whole numbers of over 4,300 digits. It accepts more, so the contract judges what it read; nothing but a gateway's
    words reaches it.
    """
    return here in (["rejected", "payload"], ["rejected", "batch.covers"]) and there[0] != "crashed"


def escapes_a_pair(payload):
    """Whether a payload escapes a character beyond 16 bits: a board reads two halves, and refuses them; the other
    difference that is allowed, since `dumps` writes UTF-8 and never such an escape."""
    return corpus.PAIR.strip('"').encode() in payload


def test_both_interpreters_make_the_same_of_it(tmp_path):
    cases = corpus.cases(SEED, CASES)
    path = tmp_path / "corpus.json"
    path.write_text(json.dumps(cases))

    here = [json.loads(json.dumps(outcomes.outcome(call, bytes.fromhex(text)))) for call, text in cases]
    said = run_on_micropython("import outcomes, sys\noutcomes.main(sys.argv[-1])", str(path), heap="32m")
    there = [json.loads(bytes.fromhex(line).decode(errors="replace")) for line in said.splitlines()]

    assert len(there) == CASES
    lenient = [both for both in zip(here, there, strict=True) if not alike(*both) and read_more_leniently(*both)]
    assert 0 < len(lenient) < CASES / 8
    odd = [
        (case[0], bytes.fromhex(case[1]), *both)
        for case, *both in zip(cases, here, there, strict=True)
        if not alike(*both) and not read_more_leniently(*both) and not escapes_a_pair(bytes.fromhex(case[1]))
    ]
    assert odd == []
    assert not [both for both in (*here, *there) if both[0] == "crashed"]
    # The corpus is worth its name: a good part is read, a good part is not, and each call sees both.
    for call in outcomes.CALLS:
        seen = {outcome[0] for case, outcome in zip(cases, here, strict=True) if case[0] == call}
        assert seen == {"value", "rejected"}, call


@pytest.mark.parametrize("call", outcomes.CALLS)
@given(payload=st.binary(max_size=300) | st.text(max_size=120).map(str.encode))
def test_any_bytes_are_a_value_or_rejected(call, payload):
    assert outcomes.outcome(call, payload)[0] in ("value", "rejected")


nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(st.fixed_dictionaries({"boot": st.just(7), "seq": st.just(1), "type": st.just("t"), "data": nested}))
def test_what_is_taken_can_be_stored_and_sent_on(record):
    """Texts go to SQL as UTF-8, whole numbers as 64 bits, and all of it on as JSON."""
    try:
        taken, _ = messages.parse_records("event", json.dumps(record).encode())
    except Rejected:
        return

    for one in taken:
        assert json.loads(messages.dumps(one)) == one


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '[{"a":{"b":1,"b":1}}]',
        '{"boot":7,"seq":1,"seq":2,"values":{"t":1}}',
        '{"values":{"t":1,"t":1}}',
    ],
)
def test_a_repeated_key_is_refused(text):
    with pytest.raises(Rejected, match="repeated"):
        messages.parse_records("telemetry", text.encode())


def test_a_board_reads_every_text_that_a_gateway_writes():
    value = "caf\u00e9 \U0001f600 \u4f60"
    payload = messages.command("c-1", "write", {"value": value}, 1)

    script = "import sys\nfrom fieldloom_contract import messages\nfrom binascii import hexlify, unhexlify\n"
    script += "told = messages.parse_command(unhexlify(sys.argv[-1]))\n"
    script += "print(hexlify(messages.dumps(told['parameters'])).decode())"

    said = bytes.fromhex(run_on_micropython(script, payload.hex()).strip())
    assert json.loads(said.decode()) == {"value": value}
