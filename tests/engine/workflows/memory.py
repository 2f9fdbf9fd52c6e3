"""A tier in memory: one instance that is kept as bytes from step to step, what it asked for, and its history."""

from fieldloom_engine.definitions import shown
from fieldloom_engine.workflows import (
    Answered,
    Occurred,
    Program,
    Replayed,
    Signalled,
    Started,
    Terminated,
    TimePassed,
    create,
    decode,
    encode,
    next_deadline,
    step,
)
from fieldloom_engine.workflows.instance import place
from fixtures.workflow_stories import BEGINNING, THE_END, Asked


class Memory:
    """Runs an instance. Times in Unix ms."""

    def __init__(self, workflow, variables, now=BEGINNING):
        self.program = Program(workflow)
        self.checkpoint = encode(create(workflow, "instance-1", variables, now))
        self.asked, self.abandoned, self.history = [], [], []
        self.effects = {}
        """The last effect that a state asked for, by the state's path."""
        self.take(Started(), now)

    @property
    def instance(self):
        return decode(self.checkpoint)

    def take(self, happening, now):
        """Let something happen."""
        self.now = now
        done = step(self.program, self.instance, happening, now)
        self.asked += [Asked(now, effect.kind, effect.parameters) for effect in done.effects]
        self.abandoned += done.abandoned
        self.history += done.history
        self.effects |= {
            shown(place(path, scope.state)): scope.effect
            for path, scope in done.instance.scopes.items()
            if scope.effect
        }
        self.checkpoint = encode(done.instance)

    def elapse(self, until):
        """Let time pass, deadline by deadline."""
        while (deadline := next_deadline(self.instance)) is not None and deadline <= until:
            self.take(TimePassed(), max(deadline, self.now))

    def happen(self, told):
        """Let happen what a story tells."""
        now = told["at"]
        self.elapse(now)
        if "answer" in told:
            effect = self._effect_of(told["answer"])
            self.take(Answered(effect, "error" not in told, told.get("result"), told.get("error")), now)
        elif "event" in told:
            self.take(Occurred(told["event"]), now)
        elif "signal" in told:
            self.take(Signalled(told["signal"]), now)
        elif "terminate" in told:
            self.take(Terminated(told["terminate"], told.get("undo", True)), now)
        else:
            self.take(Replayed(told["replay"], told.get("variables", {})), now)

    def _effect_of(self, state):
        if state == THE_END:
            return self.instance.pending.action.id
        return self.effects[state]
