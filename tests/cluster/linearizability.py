"""Whether the operations of concurrent clients could have happened one after the other, each between call and return.

The search is Wing and Gong's with Lowe's memory of the states that were tried, on a linked list of calls and returns
as in Porcupine. Operations of different keys are searched apart: a history is linearizable if that of each key is
(Herlihy and Wing, 1990, theorem 1). What touches several keys belongs under one key of its own. (V4)
"""

import hashlib
import json
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

HISTORIES = Path(__file__).parent / "histories"
SHOWN = 8  # of what was put in order before the search was stuck
STATES = 500_000  # of a key's search, some 100 MB: twenty unknown outcomes of a key lead to as many if nothing fits


class Operation(NamedTuple):
    """What a client asked and was answered; times are of one steady clock, in any unit.

    Where nobody knows the outcome there is no time of return: it may take effect at any time from then on, or never.
    """

    client: str
    key: str
    action: str
    arguments: tuple
    result: Any
    called: float
    returned: float | None


class Stuck(NamedTuple):
    """The longest order that was found of the operations of a key, and what can't follow on it."""

    key: str
    state: Any
    order: list
    left: list
    is_certain: bool = True
    """Whether all orders were tried."""

    def __str__(self):
        verdict = "is not linearizable" if self.is_certain else "was not found linearizable in time"
        begun = min(one.called for one in (*self.order, *self.left))
        lines = [f"key {self.key!r} {verdict}: {len(self.order)} operations can be put in order, up to"]
        lines += [f"   {told(one, begun)}" for one in self.order[-SHOWN:]]
        lines += [f"then the state is {self.state!r}, and what must come next does not fit it:"]
        horizon = min(one.returned for one in self.left if one.returned is not None)
        lines += [f" * {told(one, begun)}" for one in self.left if one.called <= horizon]
        return "\n".join(lines)


def told(one, begun):
    """Return an operation as a line; its times are since the first call."""
    arguments = ", ".join(map(repr, one.arguments))
    outcome = "outcome unknown" if one.returned is None else f"-> {one.result!r}"
    until = "..." if one.returned is None else f"{one.returned - begun:.6g}"
    return f"[{one.called - begun:>10.6g} .. {until:>10}] {one.client:>8}: {one.action}({arguments}) {outcome}"


def check(operations, model):
    """Return what is stuck, by key; nothing if the history is linearizable."""
    by_key = defaultdict(list)
    for one in operations:
        by_key[one.key].append(one)
    found = (_Search(key, of_key, model).run() for key, of_key in sorted(by_key.items()))
    return [one for one in found if one is not None]


class _Search:
    """Node 0 is the head of the list, 1 to n are the calls, n + 1 to 2n the returns, which unknown outcomes lack."""

    def __init__(self, key, operations, model):
        self.key = key
        self.operations = sorted(operations, key=lambda one: one.called)
        self.model = model
        self.count = len(operations)
        self.next = [0] * (2 * self.count + 1)
        self.previous = [0] * (2 * self.count + 1)
        self._link()

    def _link(self):
        events = []
        for number, one in enumerate(self.operations, 1):
            events.append((one.called, number))  # at equal times calls come first: who touch are concurrent
            if one.returned is not None:
                events.append((one.returned, number + self.count))
        last = 0
        for _, node in sorted(events):
            self.next[last], self.previous[node] = node, last
            last = node
        self.next[last], self.previous[0] = 0, last

    def run(self):
        state, placed, tried = self.model.START, 0, set()
        path, best = [], Stuck(self.key, state, [], self.operations)
        left = sum(one.returned is not None for one in self.operations)
        node = self.next[0]
        while left:
            if 1 <= node <= self.count:
                one = self.operations[node - 1]
                fits, after = self.model.step(state, one)
                mark = (placed | 1 << node, after)
                if fits and mark not in tried:
                    tried.add(mark)
                    path.append((node, state))
                    state, placed = after, mark[0]
                    left -= one.returned is not None
                    self._lift(node)
                    node = self.next[0]
                    continue
                node = self.next[node]
                continue
            if len(path) >= len(best.order):
                best = self._stuck(path, placed, state)
            if not path:
                return best
            if len(tried) > STATES:
                return best._replace(is_certain=False)
            node, state = path.pop()
            placed ^= 1 << node
            left += self.operations[node - 1].returned is not None
            self._put_back(node)
            node = self.next[node]
        return None

    def _stuck(self, path, placed, state):
        order = [self.operations[node - 1] for node, _ in path]
        left = [one for node, one in enumerate(self.operations, 1) if not placed >> node & 1]
        return Stuck(self.key, state, order, left)

    def _lift(self, node):
        for one in self._both(node):
            self.next[self.previous[one]], self.previous[self.next[one]] = self.next[one], self.previous[one]

    def _put_back(self, node):
        for one in reversed(self._both(node)):
            self.next[self.previous[one]] = self.previous[self.next[one]] = one

    def _both(self, node):
        return (node,) if self.operations[node - 1].returned is None else (node, node + self.count)


class Register:
    """A key of a map: read, write, delete, compare_and_set(expected, value) -> whether it did; None is absent."""

    NAME = "register"
    START = None

    @staticmethod
    def step(state, one):
        unknown = one.returned is None
        match one.action:
            case "read":
                return unknown or one.result == state, state
            case "write":
                return True, one.arguments[0]
            case "delete":
                return True, None
            case "compare_and_set":
                expected, value = one.arguments
                holds = state == expected
                return unknown or one.result == holds, value if holds else state
        raise ValueError(one.action)


class Log:
    """A list: append(item) -> its new length, read -> the items; shows what is applied twice."""

    NAME = "log"
    START = ()

    @staticmethod
    def step(state, one):
        unknown = one.returned is None
        match one.action:
            case "read":
                return unknown or tuple(one.result) == state, state
            case "append":
                after = (*state, one.arguments[0])
                return unknown or one.result == len(after), after
        raise ValueError(one.action)


class Map:
    """Several keys at once: read(key, ...) -> values, transaction(compares, writes) -> whether all compares held.

    Compares and writes are pairs of a key and a value, of which None is absent.
    """

    NAME = "map"
    START = frozenset()

    @staticmethod
    def step(state, one):
        unknown = one.returned is None
        values = dict(state)
        match one.action:
            case "read":
                return unknown or list(one.result) == [values.get(key) for key in one.arguments], state
            case "transaction":
                compares, writes = one.arguments
                holds = all(values.get(key) == value for key, value in compares)
                if holds:
                    values.update(writes)
                after = frozenset((key, value) for key, value in values.items() if value is not None)
                return unknown or one.result == holds, after
        raise ValueError(one.action)


MODELS = {model.NAME: model for model in (Register, Log, Map)}


def assert_linearizable(operations, model, name):
    """Raise AssertionError with what is stuck; the history is kept among those that are replayed for ever. (V2)"""
    found = check(operations, model)
    if found:
        path = keep(operations, model, name, linearizable=False)
        raise AssertionError("\n".join([*map(str, found), f"the history is kept in {path}"]))


def keep(operations, model, name, *, linearizable, folder=HISTORIES):
    """Write a history beside those that are replayed, named for its content; return its path."""
    body = {
        "model": model.NAME,
        "linearizable": linearizable,
        "operations": [list(one) for one in sorted(operations, key=lambda one: one.called)],
    }
    text = json.dumps(body).replace("], [", "],\n[") + "\n"
    path = folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
    path.write_text(text)
    return path


def load(path):
    """Return the operations of a kept history, its model, and whether it is linearizable."""
    body = json.loads(path.read_text())
    operations = [Operation(*(_hashable(field) for field in one)) for one in body["operations"]]
    return operations, MODELS[body["model"]], body["linearizable"]


def _hashable(value):
    return tuple(map(_hashable, value)) if isinstance(value, list) else value
