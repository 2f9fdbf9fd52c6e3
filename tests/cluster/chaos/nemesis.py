"""What goes wrong at a site: faults drawn by a seed, one or two at a time, each mended after a while. (V4)"""

import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

from cluster.chaos.site import Site

DAY_S = 86400

Fault = Callable[[Site, random.Random], AbstractContextManager[None]]


@contextmanager
def kill(site: Site, rng: random.Random) -> Iterator[None]:
    """Kill one gateway or two."""
    victims = rng.sample(site.names, rng.choice([1, 1, 2]))
    for name in victims:
        site.kill(name)
    yield
    for name in victims:
        site.start(name)


@contextmanager
def restart_all(site: Site, rng: random.Random) -> Iterator[None]:
    """Kill all at once, as a power cut does, and start them one after the other."""
    for name in site.names:
        site.kill(name)
    for name in rng.sample(site.names, len(site.names)):
        site.start(name)
    yield


@contextmanager
def pause(site: Site, rng: random.Random) -> Iterator[None]:
    """Stop a process, which goes on later as if nothing had been."""
    victim = rng.choice(site.names)
    site.signal(victim, signal.SIGSTOP)
    yield
    site.signal(victim, signal.SIGCONT)


@contextmanager
def cut(site: Site, rng: random.Random) -> Iterator[None]:
    """Cut one gateway off from the others."""
    victim = rng.choice(site.names)
    with ExitStack() as wires:
        for other in site.names:
            if other != victim:
                wires.enter_context(_silent(site, victim, other))
                wires.enter_context(_silent(site, other, victim))
        yield


@contextmanager
def one_way(site: Site, rng: random.Random) -> Iterator[None]:
    """Have one gateway heard by nobody, or by one less; or hear nobody: all else comes through."""
    victim, other, third = rng.sample(site.names, 3)
    choices = [[(victim, other)], [(victim, other), (victim, third)], [(other, victim), (third, victim)]]
    with ExitStack() as wires:
        for wire in rng.choice(choices):
            wires.enter_context(_silent(site, *wire))
        yield


@contextmanager
def slow(site: Site, rng: random.Random) -> Iterator[None]:
    """Have what is sent come late, and out of order."""
    site.ground.slow(rng.uniform(0.005, 0.1), rng.uniform(0, 0.1), 0.0)
    yield
    site.ground.slow(0.0, 0.0, 0.0)


@contextmanager
def loss(site: Site, rng: random.Random) -> Iterator[None]:
    """Have packets get lost."""
    site.ground.slow(0.001, 0.005, rng.uniform(0.02, 0.3))
    yield
    site.ground.slow(0.0, 0.0, 0.0)


@contextmanager
def full_disk(site: Site, rng: random.Random) -> Iterator[None]:
    """Fill the disk of a gateway."""
    victim = rng.choice(site.names)
    site.ground.fill(victim)
    yield
    site.ground.free(victim)


@contextmanager
def clock(site: Site, rng: random.Random) -> Iterator[None]:
    """Set the clock of the day of a gateway, by up to a day; it stays like this."""
    site.step_clock(rng.choice(site.names), rng.randint(-DAY_S, DAY_S))
    yield


FAULTS = (kill, restart_all, pause, clock, cut, one_way, slow, loss, full_disk)


def trouble(
    site: Site, rng: random.Random, faults: Sequence[Fault], lasting: tuple[float, float], seconds: float = 0.0
) -> list[str]:
    """Bring each fault once, and all again until so many seconds have passed; return what was done, in order.

    A fault lasts from the least to the most of `lasting`, in seconds; after each the site has to work on. Those that
    can't be had where the site stands are left out.
    """
    offered = [fault for fault in faults if fault.__name__ not in site.ground.lacks]
    end, done = time.monotonic() + seconds, []
    while not done or time.monotonic() < end:
        waiting = rng.sample(offered, len(offered))
        while waiting:
            now = [waiting.pop() for _ in range(min(len(waiting), rng.choice([1, 1, 2])))]
            done.append("+".join(fault.__name__ for fault in now))
            with ExitStack() as active:
                for fault in now:
                    active.enter_context(fault(site, rng))
                time.sleep(rng.uniform(*lasting))
            site.progress(2 * len(site.names))
    return done


@contextmanager
def _silent(site: Site, sender: str, receiver: str) -> Iterator[None]:
    site.ground.cut(sender, receiver)
    yield
    site.ground.heal(sender, receiver)
