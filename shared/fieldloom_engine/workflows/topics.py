"""Topic filters of MQTT. (MQTT 5, 4.7)"""

from collections.abc import Callable

SINGLE, REST = "+", "#"
SITE = "site/"
"""How the topics begin of what is no device's own: there rules publish, and messages start workflows."""


def checked_filter(text: str) -> str:
    """Return a topic filter if it is one for topics of a site. Raises ValueError."""
    levels = text.split("/")
    if not text or "\0" in text:
        raise ValueError("must be a topic filter such as site/+/alarm")
    if REST in text and (levels[-1] != REST or REST in "/".join(levels[:-1])):
        raise ValueError("# stands alone, as the last level")
    if any(SINGLE in level and level != SINGLE for level in levels):
        raise ValueError("+ stands alone in its level")
    if not text.startswith(SITE):
        raise ValueError(f"must begin with {SITE}: what devices send on their own topics are events")
    return text


def matching(text: str) -> Callable[[str], bool]:
    """Return what holds a topic against a filter; a wildcard in front takes no topic that begins with $."""
    levels = text.split("/")
    takes_rest = levels[-1] == REST
    if takes_rest:
        levels.pop()
    is_wide = text.startswith((SINGLE, REST))

    def matches(topic: str) -> bool:
        told = topic.split("/")
        if is_wide and topic.startswith("$"):
            return False
        if len(told) < len(levels) or (len(told) > len(levels) and not takes_rest):
            return False
        return all(level in {SINGLE, one} for level, one in zip(levels, told, strict=False))

    return matches
