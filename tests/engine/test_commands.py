"""The life of a command, whatever order its words come in. (A3)"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldloom_engine import commands

WORDS = ("gateway_has_it", "gateway_expired", "accepted", "succeeded", "failed", "rejected", "expired")


@pytest.mark.parametrize(
    ("words", "end"),
    [
        (["gateway_has_it"], "sent"),
        (["gateway_has_it", "accepted"], "delivered"),
        (["accepted", "gateway_has_it"], "delivered"),
        (["gateway_has_it", "accepted", "succeeded"], "succeeded"),
        (["succeeded", "accepted"], "succeeded"),
        (["gateway_expired"], "expired"),
        (["gateway_expired", "succeeded"], "succeeded"),
        (["gateway_expired", "accepted"], "expired"),
        (["failed", "gateway_expired"], "failed"),
    ],
)
def test_stories(words, end):
    status = "pending"
    for word in words:
        status = commands.step(status, word)

    assert status == end


def test_a_rule_is_told_the_final_status_and_the_reason():
    """(E3)"""
    assert commands.ended("succeeded", {"fan": 3}, None) == (True, {"status": "succeeded", "result": {"fan": 3}}, None)
    assert commands.ended("failed", None, None) == (
        False,
        {"status": "failed", "result": None},
        "failed: without a reason",
    )


@given(st.lists(st.sampled_from(WORDS), max_size=12))
def test_a_final_word_of_the_device_stays(words):
    status = "pending"
    for word in words:
        after = commands.step(status, word)
        assert after in commands.STATUSES
        if status in ("succeeded", "failed", "rejected"):
            assert after == status
        status = after
    device = [word for word in words if word in ("succeeded", "failed", "rejected")]
    if device:
        assert status == device[0]
