"""Judges what the clients of a site have noted; nothing is found if the site kept all that it promises. (V4)

- Registers are linearizable, what was read at the end included: no write that was acknowledged is lost. (D1, D2, D7)
- A watch tells each change once, in order, with nothing left out, over the lives of its gateway. (D2)
- A write takes place once; a command that was acknowledged is executed, and once. (T5, W6)
- One gateway at a time acts for a partition, and what an earlier one does is refused. (D4)
- At the end all members hold the same, and none has ceased to take part.
"""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from cluster import checks
from cluster.chaos.clients import ASKED, DONE, REGISTERS
from cluster.linearizability import HISTORIES, Operation, Register, check
from fieldloom_gateway.cluster.partitions.partition import partition_of
from fieldloom_gateway.cluster.partitions.records import OWNER

KEPT = HISTORIES / "chaos"
REST = "rest"

Notes = dict[str, list[list]]
"""By life, as `gw.a-2`, what was noted."""


class Told(NamedTuple):
    """What a watch told of one command."""

    index: int
    changes: tuple[tuple[str, str | None], ...]


class Change(NamedTuple):
    """An entry was written by the command at an index, or is gone if it has no value."""

    index: int
    key: str
    value: str | None


def findings(notes: Notes) -> list[str]:
    """Return in words all that is not as promised."""
    watches = [watch for life in sorted(notes) for watch in _watches(life, notes[life])]
    told = sorted({one for _, _, seen in watches for one in seen}, key=lambda one: one.index)
    committed = [Change(one.index, key, value) for one in told for key, value in one.changes]
    operations = [one for life in sorted(notes) for one in _operations(notes[life])]
    rests = [_last(notes, life) for life in _last_lives(notes)]
    return [
        *_over(notes),
        *_unlike(rests),
        *map(str, check([*_of(REGISTERS, operations), *_final_reads(operations, rests)], Register)),
        *_missed(watches, told),
        *checks.executed_twice([one.value for one in committed if one.key.startswith(REGISTERS) and one.value]),
        *checks.executed_twice([one.key for one in committed if one.key.startswith(DONE)]),
        *_not_executed(operations, rests),
        *_not_fenced(committed),
        *checks.overlapping(_held(notes)),
    ]


def keep(notes: Notes, found: list[str], name: str, folder: Path = KEPT) -> Path:
    """Write a record among those that are judged again in every run; return its path."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.jsonl.gz"
    lines = [json.dumps(found), *(json.dumps([life, *note]) for life, all_ in notes.items() for note in all_)]
    path.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
    return path


def load(path: Path) -> tuple[Notes, list[str]]:
    """Return a record that was kept, and what was found in it."""
    found, *lines = (json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines())
    notes: Notes = {}
    for life, *note in lines:
        notes.setdefault(life, []).append(note)
    return notes, found


def _operations(notes: list[list]) -> list[Operation]:
    """Return the calls of one life with their answers; not those that did not take place."""
    answers = {note[1]: note for note in notes if note[0] in ("return", "not")}
    found = []
    for kind, *call in notes:
        if kind != "call":
            continue
        number, client, key, action, arguments, at = call
        answer = answers.get(number)
        if answer is None:
            found.append(Operation(client, key, action, tuple(arguments), None, at, None))
        elif answer[0] == "return":
            found.append(Operation(client, key, action, tuple(arguments), answer[2], at, answer[3]))
    return found


def _of(prefix: str, operations: list[Operation]) -> list[Operation]:
    return [one for one in operations if one.key.startswith(prefix)]


def _final_reads(operations: list[Operation], rests: list[list]) -> list[Operation]:
    keys = {one.key for one in _of(REGISTERS, operations)}
    return [
        Operation(REST, key, "read", (), kept.get(key), begun, ended) for begun, ended, kept in rests for key in keys
    ]


def _watches(life: str, notes: list[list]) -> list[tuple[str, int, list[Told]]]:
    """Return (life, after, what was told) of each watch."""
    found: list[tuple[str, int, list[Told]]] = []
    for note in notes:
        if note[0] == "watching":
            found.append((life, note[1], []))
        elif note[0] == "told":
            found[-1][2].append(Told(note[1], tuple((key, value) for key, value in note[2])))
    return found


def _missed(watches: list[tuple[str, int, list[Told]]], told: list[Told]) -> list[str]:
    """Hold each watch against all that any has told of the time from its begin to its last word."""
    found = []
    for life, after, seen in watches:
        last = max((one.index for one in seen), default=after)
        due = [one for one in told if after < one.index <= last]
        found += [f"{life}: {one}" for one in checks.missed(due, seen)]
    return found


def _held(notes: Notes) -> list[checks.Held]:
    """Return from when to when a gateway surely acted for a partition; a version is one span, over all its lives."""
    spans: dict[tuple[int, str, int], tuple[float, float]] = {}
    for life, all_ in notes.items():
        name = life.rpartition("-")[0]
        for begun, ended, held in (note[1:] for note in all_ if note[0] == "holds"):
            for partition, version in held.items():
                one = int(partition), name, version
                first, last = spans.get(one, (ended, begun))
                spans[one] = min(first, ended), max(last, begun)
    return [checks.Held(*one, first, max(first, last)) for one, (first, last) in spans.items()]


def _not_fenced(committed: list[Change]) -> list[str]:
    """Find what was done by another than the owner at that place of the log, or under an older version."""
    owners: dict[int, str] = {}
    found = []
    for change in committed:
        if change.key.startswith(OWNER):
            owners[int(change.key.removeprefix(OWNER))] = f"{change.value} {change.index}"
        elif change.key.startswith(DONE):
            owner = owners.get(partition_of(change.key.removeprefix(DONE)))
            if owner != change.value:
                found.append(f"done by {change.value}, when the partition was that of {owner}: {change}")
    return found


def _not_executed(operations: list[Operation], rests: list[list]) -> list[str]:
    """Find commands whose submission was acknowledged and that nobody has executed."""
    asked = {one.arguments[0] for one in _of(ASKED, operations) if one.returned is not None}
    return [f"not executed: {command}" for _, _, kept in rests for command in asked if DONE + command not in kept]


def _last_lives(notes: Notes) -> list[str]:
    lives: dict[str, int] = {}
    for life in notes:
        name, _, number = life.rpartition("-")
        lives[name] = max(lives.get(name, 0), int(number))
    return [f"{name}-{number}" for name, number in sorted(lives.items())]


def _last(notes: Notes, life: str) -> list:
    return next((note[1:] for note in reversed(notes[life]) if note[0] == REST), [0.0, 0.0, {}])


def _unlike(rests: list[list]) -> list[str]:
    counts = Counter(json.dumps(kept, sort_keys=True) for _, _, kept in rests)
    return [] if len(counts) == 1 else [f"members hold different maps at the end: {list(counts)}"]


def _over(notes: Notes) -> list[str]:
    return [f"{life}: {note[1]}" for life, all_ in notes.items() for note in all_ if note[0] == "over"]
