"""What holds of a cluster's history beside linearizability; each returns its findings in words, none if all is well.

`missed`           a watch tells each change once, in order (D2)
`overlapping`      a partition has one owner at a time, under a fencing version of its own (D4)
`executed_twice`   a command is executed once (T5, W6)
"""

from collections import Counter, defaultdict
from itertools import pairwise
from typing import NamedTuple


class Held(NamedTuple):
    """A gateway acted as the owner of a partition from one time to another, under a fencing version."""

    partition: int
    owner: str
    version: int
    begun: float
    ended: float


def missed(committed, seen):
    """Compare the changes that were committed, in order, with those that a watch has told."""
    findings = [f"told twice: {one}" for one, times in Counter(seen).items() if times > 1]
    order = {one: place for place, one in enumerate(committed)}
    findings += [f"told, but never committed: {one}" for one in seen if one not in order]
    places = [order[one] for one in seen if one in order]
    findings += [f"told out of order: {committed[b]}" for a, b in pairwise(places) if b < a]
    told = set(seen)
    return findings + [f"not told: {one}" for one in committed if one not in told]


def overlapping(held):
    """Find partitions that two owned at once, and fencing versions that were used twice or went back."""
    findings = []
    of = defaultdict(list)
    for one in held:
        of[one.partition].append(one)
    for spans in of.values():
        spans.sort(key=lambda one: (one.begun, one.version))
        for before, after in pairwise(spans):
            if after.begun < before.ended:
                findings.append(f"two owners at once: {before} and {after}")
            if after.version <= before.version:
                findings.append(f"a fencing version that is not newer: {after} after {before}")
    return findings


def executed_twice(executions):
    """Find ids of commands that a device has executed more than once."""
    return [f"executed {times} times: {one}" for one, times in Counter(executions).items() if times > 1]
