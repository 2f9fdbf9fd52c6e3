"""Clients of a gateway's map: they note calls and answers, what a watch tells, what the gateway acts for. (V4)

Each note is a line of JSON, written at once, so that a kill loses none; times are of the machine's steady clock.

| note | means |
|---|---|
| `call NUMBER CLIENT KEY ACTION ARGUMENTS AT`, `return NUMBER RESULT AT` | an operation on a register |
| `unknown NUMBER`, `not NUMBER` | nobody knows whether it took place; it did not |
| `watching AFTER`, `told INDEX [[KEY, VALUE], ...]` | a watch begins; it tells what one command changed |
| `holds FROM TO {PARTITION: VERSION}` | at one moment between the two the gateway acted for these |
| `rest FROM TO {KEY: VALUE}` | all that the map held at one moment between the two, after the clients had stopped |
| `over FAULT` | the gateway takes no part any more |
"""

import asyncio
import itertools
import json
import os
import random
import time
from contextlib import suppress
from pathlib import Path

from fieldloom_gateway.cluster.consensus.port import NoLeader, Unknown
from fieldloom_gateway.cluster.partitions.partition import PARTITIONS, partition_of
from fieldloom_gateway.cluster.partitions.records import OWNER, guard
from fieldloom_gateway.cluster.state.commands import Compare, Delete, Set
from fieldloom_gateway.cluster.state.errors import Compacted, Conflict

REGISTERS, ASKED, DONE = "register/", "todo/", "done/"
NOTED = (REGISTERS, ASKED, DONE, OWNER)
ACTIONS = ["read", "write", "write", "compare_and_set", "compare_and_set", "delete"]
KEYS = 3
ERA_S = 8.0
"""After this time clients go on to other registers: the search for an order takes longer the more it does not know."""
WITHIN_S = 3.0
LOOK_S = 0.1


class Clients:
    """Work from `async with` on, until it ends."""

    def __init__(self, node, told):
        self._node = node
        self._store = node.store
        self._told = told
        self._rng = random.Random(told["seed"])
        self._numbers = itertools.count()
        self._record = os.open(told["record"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._rests = Path(told["rests"])
        self._name = f"{node.store.name}-{told['life']}"

    async def __aenter__(self):
        jobs = [self._use_registers(number, ACTIONS) for number in range(self._told["clients"])]
        jobs += [self._use_registers("reader", ["read"])]  # which no write keeps waiting while the gateway is cut off
        jobs += [self._submit(), self._execute(), self._watch(), self._look(), self._rest()]
        self._running = [asyncio.create_task(job) for job in jobs]
        for one in self._running:
            one.add_done_callback(self._ended)

    async def __aexit__(self, *error):
        if error[0] is None:
            self._note("over", self._node.fault)
        for one in self._running:
            one.cancel()
        await asyncio.wait(self._running)

    def _ended(self, task):
        if not task.cancelled() and task.exception() is not None:
            self._note("over", repr(task.exception()))

    def _note(self, *words):
        os.write(self._record, json.dumps(words, separators=(",", ":")).encode() + b"\n")

    async def _pause(self):
        await asyncio.sleep(self._rng.uniform(0.5, 1.5) * self._told["pause_s"])

    async def _use_registers(self, number, actions):
        while not self._rests.exists():
            key = f"{REGISTERS}{int(time.monotonic() / ERA_S)}.{self._rng.randrange(KEYS)}"
            action, value = self._rng.choice(actions), f"{self._name}.{next(self._numbers)}"
            await self._use(action, f"{self._name}.{number}", key, value)
            await self._pause()

    async def _use(self, action, client, key, value):
        match action:
            case "read":
                await self._operation(client, key, action, [], self._read(key))
            case "write":
                await self._operation(client, key, action, [value], self._write(key, value))
            case "compare_and_set":
                found = self._store.peek(key)
                expected = None if found is None else found.value.decode()
                modified = 0 if found is None else found.modified
                call = self._write(key, value, expected=modified)
                await self._operation(client, key, action, [expected, value], call)
            case "delete":
                await self._operation(client, key, action, [], self._store.delete(key, within=WITHIN_S))

    async def _operation(self, client, key, action, arguments, call):
        number = next(self._numbers)
        self._note("call", number, client, key, action, arguments, time.monotonic())
        try:
            result = await call
        except Conflict:
            result = False
        except NoLeader:
            self._note("not", number)
            return
        except Unknown:
            self._note("unknown", number)
            return
        self._note("return", number, result, time.monotonic())

    async def _read(self, key):
        found = await self._store.get(key, "linearizable", WITHIN_S)
        return None if found is None else found.value.decode()

    async def _write(self, key, value, **options):
        await self._store.set(key, value.encode(), within=WITHIN_S, **options)
        return True

    async def _submit(self):
        """Ask for commands that the owner of their partition executes, each under an id of its own."""
        while not self._rests.exists():
            command = f"{self._name}.{next(self._numbers)}"
            call = self._write(ASKED + command, command)
            await self._operation(self._name, ASKED + command, "submit", [command], call)
            await self._pause()

    async def _execute(self):
        """Execute what this gateway acts for; what an owner did that is one no more is refused by its version."""
        partitions = self._node.partitions
        while True:
            for entry in self._store.below(ASKED):
                command = entry.key.removeprefix(ASKED)
                partition = partition_of(command)
                version = partitions.version(partition)
                if partitions.state(partition) == "active" and version is not None:
                    compares = [guard(partition, version), Compare(entry.key, "modified", entry.modified)]
                    done = Set(DONE + command, f"{self._store.name} {version}".encode())
                    with suppress(NoLeader, Unknown):
                        await self._store.transaction(compares, [Delete(entry.key), done], WITHIN_S)
            await asyncio.sleep(LOOK_S / 2)

    async def _watch(self):
        after = self._told["after"]
        while True:
            watch = self._store.watch("", after)
            self._note("watching", watch.index)
            with suppress(Compacted):
                async for changes in watch:
                    self._tell(changes)
            after = None

    def _tell(self, changes):
        of_ours = [one for one in changes.changes if one.key.startswith(NOTED)]
        if of_ours:
            told = [[one.key, None if one.entry is None else one.entry.value.decode()] for one in of_ours]
            self._note("told", changes.index, told)

    async def _look(self):
        partitions = self._node.partitions
        while True:
            begun = time.monotonic()
            held = {at: partitions.version(at) for at in range(PARTITIONS) if partitions.state(at) == "active"}
            self._note("holds", begun, time.monotonic(), held)
            await asyncio.sleep(LOOK_S)

    async def _rest(self):
        """Once nobody works any more, tell what there is, again and again."""
        while True:
            await asyncio.sleep(LOOK_S)
            if not self._rests.exists():
                continue
            begun = time.monotonic()
            with suppress(NoLeader):
                found = await self._store.items("", "linearizable")
                kept = {one.key: one.value.decode() for one in found if one.key.startswith(NOTED)}
                self._note("rest", begun, time.monotonic(), kept)
                await asyncio.sleep(5 * LOOK_S)
