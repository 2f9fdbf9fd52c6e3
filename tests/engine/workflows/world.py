"""A world of virtual time around one instance: devices that answer, events, and a tier that may crash at every step.

What a device answers, and when, follows from the effect's id alone: so whoever asks twice gets the same answer, and two
tiers that ask for the same things live in the same world.
"""

import hashlib
import heapq
from collections import Counter
from enum import Enum

from fieldloom_engine.workflows import (
    Answered,
    Started,
    TimePassed,
    create,
    decode,
    encode,
    next_deadline,
    outstanding,
    step,
)
from fixtures.workflow_stories import BEGINNING

MOST_STEPS = 10_000
MOST_ANSWERS = 2  # to one effect, however often it is asked for


class Crash(Enum):
    """Where in a step the tier dies. It goes on at once from its checkpoint."""

    NEVER = "never"
    BEFORE_CHECKPOINT = "nothing of the step is kept: what happened comes again"
    AFTER_CHECKPOINT = "the step is kept, and nothing is performed"
    AFTER_EFFECTS = "all is kept and performed, and the tier does not know"
    IN_TURN = "each of these in turn"


class World:
    """Runs an instance of a program to its end, or for so many steps."""

    def __init__(self, program, name, happenings, crash=Crash.NEVER):
        """Begin with an instance of a name; `happenings` come from outside, each with its time."""
        self.program, self.crash = program, crash
        self.executed = {}
        """What devices have done, by id."""
        self.asked = set()
        self.history, self.steps = [], 0
        self._coming, self._answers = [], Counter()
        for at, happening in [(BEGINNING, Started()), *happenings]:
            self._plan(at, happening)
        self.checkpoint = encode(create(program.workflow, name, {"device_id": "device-1"}, BEGINNING))

    @property
    def instance(self):
        return decode(self.checkpoint)

    def run(self):
        """Let everything happen, in the order of its time."""
        while not (instance := self.instance).is_over:
            deadline = next_deadline(instance)
            if deadline is not None and (not self._coming or deadline <= self._coming[0][0]):
                self._take(deadline, TimePassed())
            elif self._coming:
                at, _, happening = heapq.heappop(self._coming)
                self._take(at, happening)
            else:
                break
        return self

    def _take(self, now, happening):
        self.steps += 1
        assert self.steps < MOST_STEPS, "it does not end"
        crash = self.crash
        if crash is Crash.IN_TURN:
            crash = list(Crash)[self.steps % 4]
        done = step(self.program, self.instance, happening, now)
        if crash is Crash.BEFORE_CHECKPOINT:
            done = step(self.program, self.instance, happening, now)
        self.checkpoint = encode(done.instance)
        self.history += done.history
        self._hold_ids_new(done.effects)
        if crash is not Crash.AFTER_CHECKPOINT:
            self._perform(done.effects, now)
        if crash is not Crash.NEVER:
            self._perform(outstanding(self.program, self.instance), now)

    def _hold_ids_new(self, effects):
        for effect in effects:
            assert effect.id not in self.asked, "a further round or attempt has the id of an earlier one"
            self.asked.add(effect.id)

    def _perform(self, effects, now):
        for effect in effects:
            asked = (effect.kind, effect.parameters)
            assert self.executed.setdefault(effect.id, asked) == asked
            self._answers[effect.id] += 1
            if self._answers[effect.id] <= MOST_ANSWERS:
                self._plan(*answer(effect, now))

    def _plan(self, at, happening):
        heapq.heappush(self._coming, (at, repr(happening), happening))


def answer(effect, now):
    """Return when and how an effect is answered."""
    drawn = hashlib.blake2b(effect.id.encode(), digest_size=4).digest()
    succeeded = drawn[0] % 6 > 0
    after = 1_200_000 if drawn[1] % 12 == 0 else drawn[1] % 8 * 400
    answered = Answered(effect.id, succeeded, {"value": drawn[2] % 10} if succeeded else None, "it is broken")
    return now + after, answered
