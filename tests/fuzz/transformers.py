"""`transformers.yaml`, with its durations, units and expressions. (T1, T2, T3)"""

from fieldloom_gateway.transformers import BadChains, compile_text
from fuzz.target import Target

CHAINS = b"""chains:
  - id: pump-temperature
    match: {device: "pump-*", metric: "temp*", type: pump, tags: {floor: "2"}}
    stages:
      - clean: {min: -40, max: 257, outliers: last, missing: {value: 3}}
      - convert: {from: degF, to: degC}
      - deadband: {change: 0.2, repeat_after: 10m}
      - duplicates: {within: 5s}
      - rate_limit: {every: 250ms}
      - tags: {unit: degC}
      - rename: {to: "{metric}.new"}
  - id: power
    match: {metric: power}
    stages:
      - convert: {expression: "value * 2.0"}
      - window: {every: 1m, aggregates: [mean, max], idle: 90}
"""


def parse(data: bytes) -> object:
    return compile_text(data.decode(errors="replace"))


TARGET = Target(
    parse,
    [CHAINS, b"chains: []\n"],
    (BadChains,),
    [
        b"chains: !!bool red",
        b"chains: !!timestamp now",
        b"chains: !!float ''",
        b"chains: [{id: a, stages: [{window: {every: 0x" + b"f" * 9000 + b"}}]}]",
    ],
)
