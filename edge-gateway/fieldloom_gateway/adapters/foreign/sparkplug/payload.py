"""The payload of Sparkplug B: its bytes to metrics, a metric to the value of a reading, and back. (C6, T1)

Field numbers and types are those of the Sparkplug specification 3.0, 6.4. Only the fields that are read have a name
here; tables and templates are bytes to us, so that nothing looks into what is not kept.
"""

import struct
from enum import IntEnum
from typing import Any, NamedTuple

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from fieldloom_contract.errors import Rejected

MAX_PAYLOAD_BYTES = 1024 * 1024
MAX_PAYLOAD_METRICS = 20_000
COMPRESSED = "SPBV1.0_COMPRESSED"


class DataType(IntEnum):
    """What a metric holds."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14
    UUID = 15


SIGNED = {DataType.INT8: 8, DataType.INT16: 16, DataType.INT32: 32, DataType.INT64: 64}
UNSIGNED = {DataType.UINT8: 8, DataType.UINT16: 16, DataType.UINT32: 32, DataType.UINT64: 64, DataType.DATETIME: 64}
"""In bits. A time is in ms since the Unix epoch."""
TEXTS = (DataType.STRING, DataType.TEXT, DataType.UUID)
WHOLE, FRACTIONS = ("int_value", "long_value"), ("float_value", "double_value")
FIELDS = {
    **dict.fromkeys([*SIGNED, *UNSIGNED], WHOLE),
    **dict.fromkeys([DataType.FLOAT, DataType.DOUBLE], FRACTIONS),
    **dict.fromkeys(TEXTS, ("string_value",)),
    DataType.BOOLEAN: ("boolean_value",),
}
"""Where a value of a type is looked for."""


class Metric(NamedTuple):
    """One value, as it came; what is None was not told."""

    name: str | None = None
    alias: int | None = None
    ts: int | None = None
    """Unix ms."""
    datatype: int | None = None
    field: str | None = None
    """In which field the value is; None for no value."""
    raw: Any = None
    is_null: bool = False


class Payload(NamedTuple):
    """What a message holds."""

    ts: int | None
    seq: int | None
    metrics: list[Metric]


class NoReading(Exception):  # noqa: N818 - it reads as what it is
    """A metric holds what no reading can: a table, a template, bytes, an array; the text says which."""


_TYPES = FieldDescriptorProto
_METRIC = {
    1: ("name", _TYPES.TYPE_STRING),
    2: ("alias", _TYPES.TYPE_UINT64),
    3: ("timestamp", _TYPES.TYPE_UINT64),
    4: ("datatype", _TYPES.TYPE_UINT32),
    7: ("is_null", _TYPES.TYPE_BOOL),
}
_VALUES = {
    10: ("int_value", _TYPES.TYPE_UINT32),
    11: ("long_value", _TYPES.TYPE_UINT64),
    12: ("float_value", _TYPES.TYPE_FLOAT),
    13: ("double_value", _TYPES.TYPE_DOUBLE),
    14: ("boolean_value", _TYPES.TYPE_BOOL),
    15: ("string_value", _TYPES.TYPE_STRING),
    16: ("bytes_value", _TYPES.TYPE_BYTES),
    17: ("dataset_value", _TYPES.TYPE_BYTES),
    18: ("template_value", _TYPES.TYPE_BYTES),
}
_PAYLOAD = {
    1: ("timestamp", _TYPES.TYPE_UINT64),
    3: ("seq", _TYPES.TYPE_UINT64),
    4: ("uuid", _TYPES.TYPE_STRING),
}


def _message_class() -> Any:
    """Return protobuf's class for a payload."""
    file = FileDescriptorProto(name="fieldloom_sparkplug.proto", package="fieldloom.sparkplug", syntax="proto2")
    metric, payload = file.message_type.add(name="Metric"), file.message_type.add(name="Payload")
    for message, fields in ((metric, _METRIC), (payload, _PAYLOAD)):
        for number, (name, kind) in fields.items():
            message.field.add(name=name, number=number, type=kind, label=_TYPES.LABEL_OPTIONAL)
    metric.oneof_decl.add(name="value")
    for number, (name, kind) in _VALUES.items():
        metric.field.add(name=name, number=number, type=kind, label=_TYPES.LABEL_OPTIONAL, oneof_index=0)
    payload.field.add(
        name="metrics",
        number=2,
        type=_TYPES.TYPE_MESSAGE,
        type_name=".fieldloom.sparkplug.Metric",
        label=_TYPES.LABEL_REPEATED,
    )
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("fieldloom.sparkplug.Payload"))


_Message = _message_class()


def decode(data: bytes) -> Payload:
    """Return what a message holds. Raises Rejected."""
    if len(data) > MAX_PAYLOAD_BYTES:
        raise Rejected("payload", f"has {len(data)} bytes, {MAX_PAYLOAD_BYTES} are taken")
    message = _Message()
    try:
        message.ParseFromString(data)
        if message.uuid == COMPRESSED:
            raise Rejected("payload", "is compressed, which is not taken")
        if len(message.metrics) > MAX_PAYLOAD_METRICS:
            raise Rejected("metrics", f"are {len(message.metrics)}, {MAX_PAYLOAD_METRICS} are taken")
        return Payload(_told(message, "timestamp"), _told(message, "seq"), [_metric(one) for one in message.metrics])
    except (DecodeError, UnicodeDecodeError):  # the latter for a text that is no UTF-8
        raise Rejected("payload", "is no payload of Sparkplug B") from None


def encode(payload: Payload) -> bytes:
    """Return the message that holds this."""
    message = _Message()
    for name, value in (("timestamp", payload.ts), ("seq", payload.seq)):
        if value is not None:
            setattr(message, name, value)
    for metric in payload.metrics:
        told = {"name": metric.name, "alias": metric.alias, "timestamp": metric.ts, "datatype": metric.datatype}
        if metric.field is not None:
            told[metric.field] = metric.raw
        one = message.metrics.add(**{name: value for name, value in told.items() if value is not None})
        if metric.is_null:
            one.is_null = True
    return bytes(message.SerializeToString())


def reading(metric: Metric, datatype: int) -> int | float | bool | str | None:
    """Return the value of a metric of a type. Raises Rejected, and NoReading for a type that no reading has."""
    try:
        kind = DataType(datatype)
    except ValueError:
        raise NoReading(f"type {datatype}") from None
    if metric.is_null:
        return None
    if metric.field not in FIELDS[kind]:
        raise Rejected("value", f"is missing: {kind.name} was told" if metric.field is None else f"is no {kind.name}")
    if metric.field == "float_value":
        return _shortest(metric.raw)
    if kind in SIGNED:
        return _signed(metric.raw, SIGNED[kind])
    if kind in UNSIGNED and metric.raw >> UNSIGNED[kind]:
        raise Rejected("value", f"is no {kind.name}")
    value: int | float | bool | str = metric.raw
    return value


def metric_of(value: Any, datatype: int) -> Metric:
    """Return a metric of a type with a value of a command. Raises Rejected for a value that the type can't hold."""
    try:
        kind = DataType(datatype)
    except ValueError:
        raise Rejected("value", f"can't be sent: the metric has type {datatype}") from None
    if value is None:
        return Metric(datatype=kind, is_null=True)
    field = FIELDS[kind][-1]
    if kind in SIGNED or kind in UNSIGNED:
        bits = SIGNED.get(kind) or UNSIGNED[kind]
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if kind in SIGNED else (0, (1 << bits) - 1)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise Rejected("value", f"must be a whole number from {low} to {high}")
        is_long = bits == 64 or kind is DataType.UINT32  # as Tahu's libraries write it
        return Metric(datatype=kind, field=WHOLE[is_long], raw=value & (0xFFFFFFFFFFFFFFFF if is_long else 0xFFFFFFFF))
    if kind in (DataType.FLOAT, DataType.DOUBLE):
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise Rejected("value", "must be a number")
        return Metric(datatype=kind, field=FRACTIONS[kind is DataType.DOUBLE], raw=_float(value, kind))
    if not isinstance(value, bool if kind is DataType.BOOLEAN else str):
        raise Rejected("value", "must be true or false" if kind is DataType.BOOLEAN else "must be a text")
    return Metric(datatype=kind, field=field, raw=value)


def _told(message: Any, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None


def _text(told: Any) -> Any:
    """Return a value; protobuf gives the bytes of a text that is no UTF-8. Raises UnicodeDecodeError."""
    return told.decode() if isinstance(told, bytes) else told


def _metric(one: Any) -> Metric:
    field = one.WhichOneof("value")
    raw = None if field is None else getattr(one, field)
    return Metric(
        _text(_told(one, "name")) or None,
        _told(one, "alias"),
        _told(one, "timestamp"),
        _told(one, "datatype"),
        field,
        _text(raw) if field == "string_value" else raw,
        one.is_null,
    )


def _signed(raw: int, bits: int) -> int:
    """Return a number from its two's complement; senders fill 32 bits with the sign, or as many as the type has."""
    value = raw & ((1 << bits) - 1)
    return value - (1 << bits) if value >> (bits - 1) else value


def _shortest(value: float) -> float:
    """Return the number with the fewest digits that is the same of 32 bits: 21.1, and not 21.100000381469727."""
    wanted = struct.pack("<f", value)
    tries = (float(f"{value:.{digits}g}") for digits in (6, 7, 8))
    return next((one for one in tries if _packed(one) == wanted), value)


def _packed(value: float) -> bytes:
    try:
        return struct.pack("<f", value)
    except OverflowError:
        return b""


def _float(value: float, kind: DataType) -> float:
    try:
        number = float(value)
    except OverflowError:
        raise Rejected("value", "is too large") from None
    if kind is DataType.FLOAT and not _packed(number):
        raise Rejected("value", "is too large")
    return number
