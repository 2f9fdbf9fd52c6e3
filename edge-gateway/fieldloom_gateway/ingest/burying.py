"""How what could not be used is put with the dead letters, here and in the cloud, and how it is tried again. (T1)"""

import base64
from collections.abc import Callable

from fieldloom_contract import topics
from fieldloom_contract.compat import loads
from fieldloom_contract.limits import DEAD_LETTER_BYTES
from fieldloom_contract.messages import dumps
from fieldloom_gateway.ingest.letters import DeadLetters, Letter
from fieldloom_gateway.ingest.transforming import Failed
from fieldloom_runtime.records import DeadLetter


class NotReplayed(Exception):  # noqa: N818 - it reads as what happened
    """A dead letter that is not taken now either; the text says why."""


class Burying:
    """Keeps letters, and sends them up with the same transaction. `add` sends a record."""

    def __init__(self, letters: DeadLetters, add: Callable[[DeadLetter], None]) -> None:
        self._letters = letters
        self._add = add
        self.last: str | None = None
        """The reason of the newest letter."""

    def bury(self, letter: Letter) -> None:
        """Keep a message or record: its first bytes, its length and the reason."""
        self._keep(letter)
        self._send(letter, letter.boot, letter.seq)

    def bury_failed(self, failed: Failed) -> None:
        """Keep values that a chain could do nothing with; in the cloud a seq belongs to one record alone."""
        record = failed.record
        topic = topics.device(record.device, topics.TELEMETRY)
        number = (record.boot, record.seq)
        letter = letter_of(record.device, topic, failed.payload, number, failed.reason, record.at)
        self._keep(letter._replace(stage=failed.stage))
        self._send(letter, *(number if failed.numbered else (None, None)))

    def _keep(self, letter: Letter) -> None:
        self._letters.add(letter)
        self.last = letter.reason

    def _send(self, letter: Letter, boot: int | None, seq: int | None) -> None:
        told = DeadLetter(letter.device, letter.at, letter.at, boot, seq, reason=letter.reason, topic=letter.topic)
        told.payload, told.length = base64.b64encode(letter.payload).decode(), letter.length
        self._add(told)


def letter_of(
    device: str, topic: str, payload: bytes, number: tuple[int | None, int | None], reason: str, at: int
) -> Letter:
    """Return the letter of a payload; `number` is (boot, seq), where they could be read."""
    return Letter(0, at, device, topic, *number, None, reason, len(payload), payload[:DEAD_LETTER_BYTES])


def verb_of(letter: Letter) -> str:
    """Return the verb of the topic that a letter came on. Raises NotReplayed if that carries no records."""
    _, _, verb = letter.topic.partition(f"{letter.device}/")
    # A report of a twin says how it was then, and would put itself in the place of a newer one.
    if not letter.device or verb not in (topics.TELEMETRY, topics.EVENT, topics.RESULT):
        raise NotReplayed("only telemetry, events and results can be replayed")
    return verb


def again(letter: Letter) -> bytes:
    """Return the payload that takes a letter through the ingest again. Raises NotReplayed if there is none.

    A record whose seq counts as received already comes back without it, dated by itself or by when it came.
    """
    if letter.length > len(letter.payload):
        raise NotReplayed(f"only the first {len(letter.payload)} of its {letter.length} bytes are kept")
    if letter.seq is None:
        return letter.payload
    record = loads(letter.payload)
    if not isinstance(record, dict):
        raise NotReplayed("the record is no JSON object")
    bare = {name: value for name, value in record.items() if name not in ("boot", "seq", "first", "up")}
    return dumps({"ts": letter.at, **bare})
