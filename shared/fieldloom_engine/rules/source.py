"""What is known of one source: how far its events are complete, and the tracks of its rules. As JSON too."""

from collections.abc import Mapping
from typing import Any

from fieldloom_engine.rules.compiling import Compiled, Occurrence
from fieldloom_engine.rules.event import Event
from fieldloom_engine.rules.ruleset import Way
from fieldloom_engine.rules.state import State
from fieldloom_engine.rules.together import Together
from fieldloom_engine.rules.track import CHUNK, Chunk, Track

MAX_KNOWN = 1000  # kinds of events of a source


class UnreadableRecord(Exception):  # noqa: N818 - it reads as what happened
    """What a checkpoint has of a source, and this engine can't read."""


class Source:
    """A device, or whoever else events come from."""

    __slots__ = ("_of_concern", "known", "own", "queued", "recent", "tracks", "waiting", "watermark")

    def __init__(self) -> None:
        self.watermark = -1
        """All its events up to here have been judged or are held, Unix ms."""
        self.tracks: dict[str, Track] = {}
        self.waiting: dict[str, Track] = {}
        """Those tracks that a watermark or time may move."""
        self.own: dict[str, Way] = {}
        """By type of event the rules for this source, as they were found."""
        self.recent: list[Event] = []
        """Events in order that not all tracks know yet: they change nothing for those that do not wait."""
        self._of_concern: dict[tuple[Any, ...], tuple[Event, ...]] = {}
        """The recent events that matter to a rule, by its concern."""
        self.known: dict[Together, list[bool | None]] = {}
        """What held by the last event of each kind, where all tracks agree with it: the same again changes nothing."""
        self.queued: int | None = None
        """The earliest deadline that the engine has noted for it."""

    def follows(self, ts: int) -> bool:
        """Whether an event of this time comes behind all that are recent."""
        return not self.recent or ts > self.recent[-1].ts

    def note(self, event: Event) -> None:
        """Take an event that follows for a recent one."""
        self.recent.append(event)
        self._of_concern.clear()
        if len(self.recent) > CHUNK:
            self.settle()

    def know(self, together: Together, held: list[bool | None]) -> None:
        """Take note that the tracks of rules agree with what held by the last event."""
        if len(self.known) >= MAX_KNOWN:
            self.known.clear()
        self.known[together] = held

    def catch_up(self, track: Track) -> None:
        """Let a track know the recent events that matter to it."""
        compiled = track.compiled
        events = self._of_concern.get(compiled.concern)
        if events is None:
            events = self._of_concern[compiled.concern] = compiled.of_concern(self.recent)
        track.catch_up(events)

    def settle(self) -> None:
        """Let all tracks know the recent events; the last one stays, to tell what follows."""
        for track in self.tracks.values():
            if not track.compiled.waits:
                self.catch_up(track)
        del self.recent[:-1]
        self._of_concern.clear()

    def track(self, compiled: Compiled) -> Track:
        """Return the track of a rule, a new one if there is none yet."""
        track = self.tracks.get(compiled.rule.id)
        if track is None:
            track = Track(compiled)
            self.keep(track)
        return track

    def keep(self, track: Track) -> None:
        """Keep a rule's track."""
        self.tracks[track.compiled.rule.id] = track
        if track.compiled.waits or track.backlog is not None:
            self.waiting[track.compiled.rule.id] = track

    def deadline(self) -> int | None:
        """Return the time of the clock at which the first of its waits ends whatever comes, Unix ms."""
        return min((time for one in self.waiting.values() if (time := one.deadline()) is not None), default=None)


def record_of(source: Source) -> dict[str, Any]:
    """Return a source as JSON; an event that several tracks keep stands in it once."""
    source.settle()
    events = _Events()
    tracks = {
        name: {
            "fingerprint": track.compiled.rule.fingerprint,
            "state": events.state(track.state),
            "chunks": [
                {
                    "before": events.state(chunk.before),
                    "events": [events.place(one) for one in chunk.events],
                    "occurrences": [[events.place(one.event), *one[1:]] for one in chunk.occurrences],
                }
                for chunk in track.chunks
            ],
            "held": [events.place(one) for one in track.held],
            "backlog": events.state(track.backlog),
            "withdrawn": [[*key, times] for key, times in track.withdrawn.items()],
        }
        for name, track in source.tracks.items()
    }
    recent = [events.place(one) for one in source.recent]
    return {"watermark": source.watermark, "recent": recent, "tracks": tracks, "events": events.told}


def restored(record: Mapping[str, Any], rules: Mapping[str, Compiled]) -> Source:
    """Return a source of its record; tracks of rules that are gone or other ones by now are left out.

    Raises UnreadableRecord.
    """
    try:
        return _restored(record, rules)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableRecord(f"no record of a source: {error!r}") from error


def _restored(record: Mapping[str, Any], rules: Mapping[str, Compiled]) -> Source:
    source = Source()
    source.watermark = record["watermark"]
    events = [Event(*one) for one in record["events"]]
    source.recent = [events[at] for at in record["recent"]]
    for name, told in record["tracks"].items():
        compiled = rules.get(name)
        if compiled is None or compiled.rule.fingerprint != told["fingerprint"]:
            continue
        track = Track(compiled)
        track.state = _restored_state(told["state"], events)
        track.chunks = [
            Chunk(
                _restored_state(chunk["before"], events),
                tuple(events[at] for at in chunk["events"]),
                tuple(Occurrence(events[at], *rest) for at, *rest in chunk["occurrences"]),
            )
            for chunk in told["chunks"]
        ]
        track.held = [events[at] for at in told["held"]]
        track.backlog = None if told["backlog"] is None else _restored_state(told["backlog"], events)
        track.withdrawn = {(fired_by, holds): times for fired_by, holds, times in told["withdrawn"]}
        source.keep(track)
    return source


class _Events:
    """The events of a record, each once."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self._places: dict[tuple[int, str], int] = {}

    def place(self, event: Event) -> int:
        """Return where an event stands."""
        place = self._places.setdefault(event.key, len(self.told))
        if place == len(self.told):
            self.told.append([*event[:4], dict(event.data), dict(event.metadata)])
        return place

    def state(self, state: State | None) -> list[Any] | None:
        """Return a state as JSON."""
        if state is None:
            return None
        event = None if state.event is None else self.place(state.event)
        memory = [list(slot) for slot in state.memory]
        return [memory, state.holds, state.is_open, state.fired_at, state.ts, state.id, event]


def _restored_state(told: list[Any], events: list[Event]) -> State:
    memory, holds, is_open, fired_at, ts, id_, event = told
    state = State([list(slot) for slot in memory])
    state.holds, state.is_open, state.fired_at, state.ts, state.id = holds, is_open, fired_at, ts, id_
    state.event = None if event is None else events[event]
    return state
