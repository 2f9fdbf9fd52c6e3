"""Messages of devices and to them: the contract's JSON. (C2, T1)"""

from functools import partial

from fieldloom_contract import messages, topics
from fieldloom_contract.errors import Rejected
from fuzz.target import Target, chosen, numbered

READING = b'{"boot":7,"seq":1201,"first":1180,"ts":1732380000123,"values":{"temperature":21.5,"on":true,"text":"a"}}'
SEEDS = {
    partial(messages.parse_records, topics.TELEMETRY): [READING, b"[" + READING + b"," + READING + b"]"],
    partial(messages.parse_records, topics.EVENT): [b'{"boot":7,"seq":2,"ts":1,"type":"door.opened","data":{"a":[1]}}'],
    partial(messages.parse_records, topics.RESULT): [
        b'{"boot":7,"seq":3,"up":1,"id":"c1","status":"failed","result":{},"error":"no"}'
    ],
    partial(messages.parse_records, topics.REPORTED): [
        b'{"boot":7,"seq":4,"ts":1,"version":4,"values":{"led":1},"errors":{"led":"broken"},"more":true}'
    ],
    messages.parse_state: [
        b'{"online":true,"boot":7,"session":"9f3a","up":5120,"firmware":"1.4.0","rssi":-61,"sleep":{"every":1,"awake":1}}'
    ],
    messages.parse_discovery: [b'{"request_id":"r","device":{"type":"pump","twin":3}}'],
    messages.parse_discovery_request: [b'{"request_id":"r","ts":1}'],
    messages.parse_ack: [b'{"boot":7,"seq":1201}', b'{"boot":null,"seq":null,"error":"bad","refused":7}'],
    messages.parse_command: [b'{"id":"c1","type":"read","parameters":{"name":"a"},"expires":1732380000123}'],
    messages.parse_time: [b'{"ts":1732380000123}'],
    messages.parse_desired: [b'{"version":4,"values":{"interval":1000}}'],
}
TARGET = Target(chosen(list(SEEDS)), numbered(list(SEEDS.values())), (Rejected,))
