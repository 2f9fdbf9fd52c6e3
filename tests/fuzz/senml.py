"""Sensor measurement lists: whatever they resolve to, the contract can say what is wrong with it. (C5)"""

from fieldloom_contract import messages, topics
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.adapters import senml
from fuzz.target import Target

NOW = 1_790_000_000_000


def parse(data: bytes) -> object:
    return messages.parse_records(topics.TELEMETRY, senml.telemetry(data, NOW))


LONG = b"1" * 400
PACK = b"""[
  {"bn":"urn:dev:ow:10e2073a01080063:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},
  {"n":"current","t":-5,"v":1.2},{"n":"on","vb":true},{"n":"text","vs":"a"},{"n":"data","vd":"YQ"}]"""
TARGET = Target(
    parse,
    [PACK, b'[{"n":"energy","bs":3,"s":1.5,"bv":2,"v":3}]'],
    (Rejected,),
    [
        b'[{"n":"a","bt":%s,"t":0.5,"v":1}]' % LONG,
        b'[{"n":"a","bv":%s,"v":0.5}]' % LONG,
        b'[{"n":"a","bs":%s,"s":0.5}]' % LONG,
    ],
)
