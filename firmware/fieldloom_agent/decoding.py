"""Decodes a payload on flash, each long text once in memory: JSON's decoder has it twice, in one piece each. (F1)"""

import json

from fieldloom_contract.compat import const

MARK = "\0%d"  # stands for a long text; no text of the contract holds a NUL
_LONG = const(512)  # bytes
_BESIDE = const(1024)  # bytes, the most that is decoded of a message with such texts
_QUOTE = const(34)
_BACKSLASH = const(92)


def load(name):
    """Return the JSON value of a file. Raises ValueError."""
    with open(name, "rb") as file:
        short, texts = _cut(file)
    with open(name) as file:
        if not texts:
            return json.load(file)
        value = json.loads(short)
        _put_back(value, file, texts)
    return value


def _cut(file):
    """Return JSON with marks in the place of long texts, and {mark: (offset, characters)} of those.

    None of them without any, with an escape in one, or with much beside them.
    """
    short, texts, part = bytearray(), {}, bytearray(64)
    offset = begun = kept = characters = 0  # begun: the offset of the text that a byte is in, 0 outside
    is_escaped = has_escapes = False
    while count := file.readinto(part):
        for byte in memoryview(part)[:count]:
            offset += 1
            is_long = begun and offset - begun > _LONG
            if len(short) > _BESIDE or (is_long and has_escapes):
                return None, None
            if is_escaped:
                is_escaped = False
            elif byte == _BACKSLASH:
                is_escaped = has_escapes = True
            elif byte == _QUOTE:
                if is_long:
                    mark = MARK % len(texts)
                    short[kept:] = json.dumps(mark)[1:-1].encode()
                    texts[mark] = begun, characters
                begun, kept, characters = 0 if begun else offset, len(short) + 1, 0
                has_escapes = False
                short.append(byte)
                continue
            if not is_long:
                short.append(byte)
            characters += byte & 0xC0 != 0x80
    return short, texts


def _put_back(value, file, texts):
    """Put each text in the place of its mark. Raises ValueError where that is no value of an object or an array."""
    waiting = [value]
    while waiting:
        inside = waiting.pop()
        for key in list(inside) if isinstance(inside, dict) else range(len(inside)):
            one = inside[key]
            if isinstance(one, (dict, list)):
                waiting.append(one)
            elif one in texts:
                offset, characters = texts.pop(one)
                file.seek(offset)
                inside[key] = file.read(characters)
    if texts:
        raise ValueError("a name is too long")
