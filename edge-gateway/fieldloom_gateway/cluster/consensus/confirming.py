"""Questions how far all is committed, answered once a majority has confirmed the leader. (Raft's thesis, section 6.4)

A leader counts rounds: every message that replicates bears the round, every answer names it again. A question that came
before a round began is answered by the commit index of that moment, once a majority has answered that round or a later
one in the same term: nobody else can have led in between.
"""

from collections.abc import Callable
from typing import NamedTuple

from pysyncobj.node import Node

from fieldloom_gateway.cluster.consensus.messages import Message

Told = Callable[[int | None], None]
"""Gets the index; None when nobody can say it."""


class Question(NamedTuple):
    """Whose it is (None: this member's), and its number there."""

    node: Node | None
    number: int


class Round(NamedTuple):
    """A round, the commit index when it began, and what it answers."""

    number: int
    commit: int
    questions: list[Question]


class Confirming:
    """The questions at one member, its own and, while it leads, the others'."""

    def __init__(self, first: int, send: Callable[[Node, Message], bool]) -> None:
        """Take the first number of a question: never one of an earlier life, whose answers may still come."""
        self._number = first
        self._send = send
        self._asked: dict[int, Told] = {}
        self._waiting: list[Question] = []
        self._rounds: list[Round] = []
        self._answered: dict[str, int] = {}
        self.round = 0

    def ask(self, told: Told, leader: Node | None) -> None:
        """Take a question of this member; `leader` None is the member itself."""
        self._number += 1
        self._asked[self._number] = told
        if leader is None:
            self._waiting.append(Question(None, self._number))
        elif not self._send(leader, {"type": "read_request", "request_id": self._number}):
            self.settle(self._number, None)

    def take(self, node: Node, number: int, *, is_leader: bool) -> None:
        """Take another member's question."""
        if is_leader:
            self._waiting.append(Question(node, number))
        else:
            self._answer([Question(node, number)], None)

    def begin_round(self, commit: int) -> None:
        """Give the questions that wait a round, at a leader that has committed in its term."""
        if self._waiting:
            self.round += 1
            self._rounds.append(Round(self.round, commit, self._waiting))
            self._waiting = []

    def lead(self) -> None:
        """Begin a term as leader."""
        self._answered.clear()

    def note(self, name: str, number: int) -> None:
        """Note that a member has answered a round of this term."""
        self._answered[name] = max(self._answered.get(name, 0), number)

    def answer(self, is_majority: Callable[[set[str]], bool]) -> None:
        """Answer what enough members have confirmed; whoever asks counts itself in `is_majority`."""
        while self._rounds:
            number, commit, questions = self._rounds[0]
            if not is_majority({name for name, seen in self._answered.items() if seen >= number}):
                return
            del self._rounds[0]
            self._answer(questions, commit)

    def settle(self, number: int, index: int | None) -> None:
        """Take the answer to a question of this member."""
        told = self._asked.pop(number, None)
        if told is not None:
            told(index)

    def abandon(self) -> None:
        """Tell all who wait that nobody can say it: the leader has changed."""
        waiting, self._waiting = self._waiting, []
        rounds, self._rounds = self._rounds, []
        asked, self._asked = self._asked, {}
        others = [*waiting, *(question for one in rounds for question in one.questions)]
        self._answer([question for question in others if question.node is not None], None)
        for told in asked.values():
            told(None)

    def _answer(self, questions: list[Question], index: int | None) -> None:
        for node, number in questions:
            if node is None:
                self.settle(number, index)
            else:
                self._send(node, {"type": "read_response", "request_id": number, "index": index})
