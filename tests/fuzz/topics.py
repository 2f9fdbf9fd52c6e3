"""Topics and routing keys, whoever publishes on them. (C2, C4)"""

from fieldloom_contract import topics
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.adapters import amqp
from fuzz.target import Target, chosen, numbered


def _text(read):
    return lambda data: read(data.decode(errors="replace"))


PARSERS = [topics.parse_device, topics.parse_gateway, amqp.address]
SEEDS = [
    [b"fl/v1/d/dev-1/telemetry", b"fl/v1/d/a_b/command/result", b"fl/v1/d/dev-1/update/request"],
    [b"fl/v1/g/gw.site1/up/17", b"fl/v1/g/gw.site1/down/ack"],
    [b"d.pump-7.command.result", b"d.pump-7.telemetry"],
]
TARGET = Target(chosen([_text(one) for one in PARSERS]), numbered(SEEDS), (Rejected,))
