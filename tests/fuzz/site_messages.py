"""Messages on the site's topics: what goes up to workflows of the cloud is taken there, as it was. (W4, T1)"""

from fieldloom_cloud.ingest.checked import parsed
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.automation.workflows.messages import SiteMessage, event_of
from fieldloom_runtime import site_messages
from fieldloom_runtime.records import Event, encode
from fuzz.target import Target

NOW = 1_790_000_000_000


def sent_up(data: bytes) -> None:
    here = event_of(SiteMessage("site/orders", data, "0" * 32), NOW)
    record = parsed(encode(site_messages.record_of(here, "gw.site")), NOW)
    assert isinstance(record, Event)
    there = site_messages.event_of(record, "north")
    assert (there.ts, there.data) == (here.ts, here.data)


TARGET = Target(
    sent_up,
    [
        b'{"id":"o-1","litres":3.5,"of":[{"a":null,"b":true}]}',
        b'{"text":"\\u00e9\\ud83d\\ude00"}',
        b'{"n":-9223372036854775808,"f":1e308}',
        b'{"n":1e999}',
        b"[4]",
    ],
    (Rejected,),
    [b"[" * 60_000, b'{"a":' * 10_000],
)
