"""The token that lets a gateway join says what was put in, and nothing else is taken for one. (D3)"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster.ticket import BEGIN, LONGEST, Ticket, read, write

tickets = st.builds(
    Ticket,
    member=st.text(max_size=64),
    token=st.text(max_size=64),
    doors=st.dictionaries(st.text(max_size=20), st.text(max_size=40), max_size=7),
    ca=st.text(max_size=64),
)


@given(tickets)
def test_what_is_written_is_read_whole_or_not_at_all(ticket):
    text = write(ticket)

    assert read(f" {text}\n") == ticket
    with pytest.raises(Rejected, match="not whole"):
        read(text[:-4])


@given(st.text() | st.text().map(lambda text: BEGIN + text))
def test_what_is_no_token_is_refused(text):
    with pytest.raises(Rejected, match=r"invite|not whole"):
        read(text)


def test_what_is_too_long_is_refused():
    with pytest.raises(Rejected, match="none of `fieldloom cluster invite`"):
        read(BEGIN + "e" * (LONGEST + 1))
