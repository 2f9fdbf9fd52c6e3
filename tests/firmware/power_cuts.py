"""Cuts a board's power at each of its flash operations, whole and torn, and sees what becomes of it. (F5)

A board lives once without a cut, and what it does to its flash is noted. Every state that a cut may leave is then made
of that, and a board lives on from it. Runs on MicroPython.
"""

import json

import lives

BEFORE, FIRST_HALF, SECOND_HALF, GARBAGE = range(4)  # how much of an operation came about
BLOCK = lives.BLOCK


class Phase:
    """What is cut: a start, and a command that comes after it; `wanted` is the release that runs if it succeeds."""

    def __init__(self, name, kind=None, wanted=None, **parameters):
        self.name, self.kind, self.wanted, self.parameters = name, kind, wanted, parameters

    def order(self, gateway):
        if self.kind:
            gateway.command(self.kind, self.name, **self.parameters)

    def is_over(self, gateway):
        """Whether the command has its result or, without one, a record of this life has come."""
        if self.kind:
            return gateway.result(self.name)
        return gateway.boots and any([boot == gateway.boots[-1] for boot, _ in gateway.records])


class Recording:
    """The flash before a phase, what the phase did to it, and which boots were heard after how many operations."""

    def __init__(self, board, releases, phase):
        flash = board.flash
        self.phase, self.releases = phase, releases
        self.before, flash.operations = bytearray(flash.memory), []
        gateway = lives.Gateway(releases)
        phase.order(gateway)
        heard = []

        def until():
            if len(gateway.boots) > len(heard):
                heard.append((gateway.boots[-1], len(flash.operations)))
            return phase.is_over(gateway)

        assert board.live_on(gateway, until), phase.name
        self.operations, self.heard = flash.operations, heard
        flash.operations = None

    def cut(self, step, first, thoroughly):
        """Yield a fault, or None, for every step-th cut from the first on.

        After one cut of each operation, or `thoroughly` after all, the board lives to the end; else to its first sign.
        """
        memory, number = bytearray(self.before), 0
        for done, operation in enumerate(self.operations):
            for how in (BEFORE, FIRST_HALF, SECOND_HALF, GARBAGE):
                number += 1
                if (number - 1) % step == first:
                    yield self._try(torn(memory, operation, how), done, thoroughly or how == done % 4)
            write(memory, operation)
        yield self._try(memory, len(self.operations), True)

    def _try(self, memory, done, settle):
        flash = lives.Flash(bytearray(memory))
        flash.operations = None
        board, gateway = lives.Board(flash), lives.Gateway(self.releases)
        self.phase.order(gateway)
        known = [boot for boot, at in self.heard if at <= done]
        cause = lives.Machine.PWRON_RESET
        for _ in range(6):
            cause = board.live(gateway, lambda: self.phase.is_over(gateway) if settle else gateway.boots, cause)
            if lives.runs(self.releases) is None:
                return "%s, cut at %d: bricked" % (self.phase.name, done)
            if cause is None:
                break
        if not gateway.boots or any([boot in known for boot in gateway.boots]):
            return "%s, cut at %d: boots %s after %s" % (self.phase.name, done, gateway.boots, known)
        return self._unsettled(gateway, done) if settle else None

    def _unsettled(self, gateway, done):
        """Say what is wrong at the end, if anything: each release goes with its own result."""
        if not self.phase.is_over(gateway):
            return "%s, cut at %d: came to no end" % (self.phase.name, done)
        if self.phase.wanted is None:
            return None
        result = gateway.result(self.phase.name)
        if (result["status"] == "succeeded") != (lives.runs(self.releases) == self.phase.wanted):
            return "%s, cut at %d: %s with %s" % (self.phase.name, done, lives.runs(self.releases), result)
        if result["status"] != "succeeded" and not result["error"]:
            return "%s, cut at %d: no reason in %s" % (self.phase.name, done, gateway.events())
        return None


def torn(memory, operation, how):
    """Return the flash after a part of an operation."""
    if how == BEFORE:
        return memory
    at, data = operation
    length = BLOCK if data is None else len(data)
    data = lives.ERASED if data is None else data
    half = length // 2
    made = bytearray(memory)
    if how == FIRST_HALF:
        made[at : at + half] = data[:half]
    elif how == SECOND_HALF:
        made[at + half : at + length] = data[half:]
    else:
        made[at : at + length] = bytes([(7 * byte + 13) & 0xFF for byte in range(length)])
    return made


def write(memory, operation):
    at, data = operation
    data = lives.ERASED if data is None else data
    memory[at : at + len(data)] = data


def phases(old, new):
    """Return what a board goes through: its first boot, a command, an update, and the way back."""
    return [
        Phase("first boot"),
        Phase("command", "set_interval", interval=500),
        Phase("update", "update", wanted=new, release=new),
        Phase("rollback", "rollback", wanted=old),
    ]


def run(folder, steps, first, thoroughly):
    """Go through all phases, cut each at every n-th place from the first on, {phase: n}; print what came of it."""
    files, releases = lives.world(folder)
    board = lives.Board(lives.Flash(), files)
    told = {"faults": [], "cuts": 0, "operations": {}}
    for phase in phases(*sorted(releases)):
        recording = Recording(board, releases, phase)
        told["operations"][phase.name] = len(recording.operations)
        memory = bytearray(board.flash.memory)
        for fault in recording.cut(steps[phase.name], first, thoroughly) if phase.name in steps else ():
            told["cuts"] += 1
            if fault:
                told["faults"].append(fault)
        board.flash.memory[:] = memory
        board.mount()
    print(json.dumps(told))
