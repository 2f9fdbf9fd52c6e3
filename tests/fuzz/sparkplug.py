"""Payloads of Sparkplug B: whatever their bytes are, what is read of them the contract can say. (C6)"""

from fieldloom_contract import messages, topics
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.adapters.foreign.definition import Mapping
from fieldloom_gateway.adapters.foreign.sparkplug.nodes import Nodes
from fieldloom_gateway.adapters.foreign.sparkplug.payload import DataType, Metric, Payload, encode
from fuzz.target import Target

NOW = 1_790_000_000_000
PLANT = Mapping.model_validate({"preset": "sparkplug", "base": "spBv1.0/Plant", "prefix": "sp-"})
KINDS = ("NBIRTH/n", "NDATA/n", "NDEATH/n", "DBIRTH/n/d", "DDATA/n/d", "DDEATH/n/d")
PARSERS = {topics.STATE: messages.parse_state, topics.DISCOVERY: messages.parse_discovery}


def parse(data: bytes) -> None:
    """Give a payload to a node that is born, as each kind of message."""
    nodes = Nodes([PLANT])
    nodes.hear("spBv1.0/Plant/NBIRTH/n", BIRTH, NOW)
    for kind in KINDS:
        heard = nodes.hear(f"spBv1.0/Plant/{kind}", data, NOW)
        for one in heard.messages if heard else []:
            _, verb = topics.parse_device(one.topic)
            if one.fault is None and verb == topics.TELEMETRY:
                faults = messages.parse_records(verb, one.payload)[1]
                assert not faults, faults
            elif one.fault is None:
                PARSERS[verb](one.payload)


BIRTH = encode(
    Payload(
        NOW,
        0,
        [
            Metric("bdSeq", datatype=DataType.INT64, field="long_value", raw=1),
            Metric("load", 1, NOW, DataType.FLOAT, "float_value", 0.5),
            Metric("on", 2, None, DataType.BOOLEAN, "boolean_value", raw=True),
            Metric("name", 3, None, DataType.STRING, "string_value", "a"),
        ],
    )
)
DATA = encode(Payload(NOW, 1, [Metric(alias=1, field="float_value", raw=1.5), Metric(alias=9, is_null=True)]))
TARGET = Target(parse, [BIRTH, DATA], (Rejected,), [b"\x12\x03\x0a\x01\xff", b"\x12\x00" * 20_001])
