"""What the cloud sends down to a gateway: commands and the rest. (T5, A3)"""

from fieldloom_contract.limits import MAX_WHOLE
from fieldloom_gateway.ingest import uplink
from fieldloom_runtime.down import Answered, Credential, Release, Removed, Revoked, Topics, TwinPatch, encode
from fuzz.target import Target


def parse(data: bytes) -> None:
    """A record is one or none, and has no number that the gateway's store can't keep."""
    record = uplink._read(data)
    if isinstance(record, (Revoked, Credential)):
        fields = (getattr(record, name) for name in record.__struct_fields__)
        assert all(abs(value) <= MAX_WHOLE + 1 for value in fields if isinstance(value, int))


TARGET = Target(
    parse,
    [
        b'{"device":"dev-1","id":"c1","type":"read","parameters":{"name":"a"},"expires":1732380000123}',
        b'{"device":"d","id":"c","type":"go","parameters":{},"expires":1,"source":{"priority":"rule","owner":"r"},"hold":{}}',
        encode(Release("dev-1", "relay", "r1", "person", "anna")),
        encode(Revoked(3, 1, 2, b"0", ["dev-1"], ["dev-2"])),
        encode(Answered("dev-1", "0" * 64, b"0", None)),
        encode(TwinPatch("dev-1", 4, {"interval": 1000}, "p", {"led": None})),
        encode(Removed("dev-1")),
        encode(Topics(["site/+/orders"])),
        encode(Credential("dev-1.0123456789ab", "dev-1", "psk", b"secret", 1732380000123)),
        b'{"kind":"withdrawn"}',
    ],
    crashes=[
        b"[" * 100_000,
        b'{"kind":"twin","device":"dev-1","version":1,"values":{"a":' + b"[" * 50_000,
        b'{"kind":"revoked","number":99999999999999999999,"part":1,"parts":1,"der":"MA=="}',
    ],
)
