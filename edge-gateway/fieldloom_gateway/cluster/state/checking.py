"""What is wrong with a transaction in itself, whatever the map holds: asked before it is proposed, and again by all."""

from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster.state import limits
from fieldloom_gateway.cluster.state.commands import Compare, Operation, Set, Transaction


def check(transaction: Transaction) -> None:
    """Raise Rejected, with the field and the limit, for a transaction that no state would take."""
    for name, parts in (("compares", transaction.compares), ("operations", transaction.operations)):
        if len(parts) > limits.PARTS:
            raise Rejected(name, f"{len(parts)} are more than {limits.PARTS}")
    size = sum(_check_compare(compare, f"compares[{at}]") for at, compare in enumerate(transaction.compares))
    size += sum(_check_operation(one, f"operations[{at}]") for at, one in enumerate(transaction.operations))
    if size > limits.TRANSACTION_BYTES:
        raise Rejected("operations", f"{size} bytes are more than {limits.TRANSACTION_BYTES} a transaction")
    seen: set[str] = set()
    for at, one in enumerate(transaction.operations):
        if one.key in seen:
            raise Rejected(f"operations[{at}].key", f"{one.key!r} is in an operation before this one")
        seen.add(one.key)


def _check_compare(compare: Compare, path: str) -> int:
    if isinstance(compare.expected, bytes) is not (compare.attribute == "value"):
        wanted = "bytes" if compare.attribute == "value" else "a number"
        raise Rejected(f"{path}.expected", f"must be {wanted} for {compare.attribute}")
    expected = compare.expected if isinstance(compare.expected, bytes) else b""
    return _check_key(compare.key, f"{path}.key") + _check_value(expected, f"{path}.expected")


def _check_operation(operation: Operation, path: str) -> int:
    size = _check_key(operation.key, f"{path}.key")
    if not isinstance(operation, Set):
        return size
    if not 0 <= operation.ttl_ms <= limits.TTL_MAX_MS:
        raise Rejected(f"{path}.ttl_ms", f"{operation.ttl_ms} is not from 0 to {limits.TTL_MAX_MS}")
    if operation.holder == operation.key:
        raise Rejected(f"{path}.holder", "an entry can't hold itself")
    if operation.holder:
        size += _check_key(operation.holder, f"{path}.holder")
    return size + _check_value(operation.value, f"{path}.value")


def _check_key(key: str, path: str) -> int:
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise Rejected(path, "is not UTF-8") from None
    if not key:
        raise Rejected(path, "is empty")
    if size > limits.KEY_BYTES:
        raise Rejected(path, f"{size} bytes are more than {limits.KEY_BYTES}")
    return size


def _check_value(value: bytes, path: str) -> int:
    if len(value) > limits.VALUE_BYTES:
        raise Rejected(path, f"{len(value)} bytes are more than {limits.VALUE_BYTES}")
    return len(value)
