"""Runs the vectors on either interpreter: `run(cases)` returns what failed, in words. No typing, no pytest: boards."""

from binascii import unhexlify

from fieldloom_contract import messages, topics
from fieldloom_contract.errors import Rejected

CALLS = {
    "ack": messages.parse_ack,
    "time": messages.parse_time,
    "command": messages.parse_command,
    "state": messages.parse_state,
    "desired": messages.parse_desired,
    "discovery": messages.parse_discovery,
    "topic": lambda payload: list(topics.parse_device(payload.decode())),
    "gateway_topic": lambda payload: list(topics.parse_gateway(payload.decode())),
    "slot": lambda payload: topics.up(payload.decode()),
}


def run(cases):
    return [case["name"] + ": " + fault for case in cases for fault in [check(case)] if fault]


def check(case):
    payload = unhexlify(case["hex"]) if "hex" in case else case["payload"].encode()
    try:
        if case["call"] == "records":
            return check_records(case, payload)
        result = CALLS[case["call"]](payload)
    except Rejected as error:
        return None if error.field == case.get("rejected") else "rejected for " + str(error)
    return None if "rejected" not in case and result == case["result"] else "gave " + repr(result)


def check_records(case, payload):
    records, faults = messages.parse_records(case["kind"], payload)
    if "rejected" in case or records != case["records"]:
        return "gave " + repr(records)
    found = [[fault.boot, fault.seq, fault.field] for fault in faults]
    return None if found == case["faults"] else "faults " + repr(faults)
