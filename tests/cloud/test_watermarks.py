"""The watermark is the time up to which nothing of a boot is missing, in whatever order its records come. (E8)"""

from hypothesis import given
from hypothesis import strategies as st

from fieldloom_cloud.ingest.watermarks import Watermarks
from fieldloom_contract.ranges import Ranges
from fieldloom_runtime.records import Telemetry


def reading(number, **more):
    return Telemetry(
        **{"device": "a", "ts": 1000 * number, "at": 0, "boot": 1, "seq": number, "values": {"t": 1}, **more}
    )


@given(st.permutations(range(1, 13)), st.lists(st.integers(1, 4), max_size=12))
def test_it_is_the_time_of_the_last_record_before_the_first_gap(order, sizes):
    watermarks, received, reached = Watermarks(), Ranges(), 0
    while order:
        size = sizes.pop() if sizes else 1
        batch, order = order[:size], order[size:]
        for seq in batch:
            received.add(seq)
        found = watermarks.take([reading(seq) for seq in batch], lambda *_: received.end)
        reached = max(reached, found.get("a", 0))

        assert reached == 1000 * received.end


def test_who_numbers_nothing_sends_in_order_and_a_time_that_a_gateway_made_up_proves_nothing():
    alone, dated = reading(3, boot=None, seq=None), reading(1, device="b", clock="gateway")

    assert Watermarks().take([alone, dated], lambda *_: 1) == {"a": 3000}
