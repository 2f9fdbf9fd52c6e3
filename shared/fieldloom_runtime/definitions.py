"""Definitions in YAML, read with the line of each value, so that a fault names its place."""

from typing import Any, NamedTuple

import yaml

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_DIGITS = 32  # of a whole number: no definition has a longer one, and Python refuses to show it

Path = tuple[str | int, ...]


class Unreadable(Exception):  # noqa: N818 - it reads as what happened
    """A text that is no definition; the message names the line."""


class Read(NamedTuple):
    """What a text says, and on which lines (from 1)."""

    value: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """Return the line of a value, of what is missing that of what it is missing from."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(text: str) -> Read:
    """Return what a YAML text says; keys are texts and stand once, anchors are not taken. Raises Unreadable."""
    if len(text) > MAX_BYTES:
        raise Unreadable(f"the file has more than {MAX_BYTES} bytes")
    loader: yaml.SafeLoader | None = None
    try:
        loader = yaml.SafeLoader(text)  # which looks for characters that YAML does not have
        node = loader.get_single_node()
        lines: dict[Path, int] = {}
        if node is not None:
            _walk(node, (), lines, set())
        return Read(loader.construct_document(node) if node is not None else None, lines)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Unreadable(f"line {line}: {error.problem or error}") from error
    except RecursionError as error:
        raise Unreadable("is nested too deeply") from error
    except (KeyError, AttributeError, IndexError, TypeError) as error:  # of PyYAML, over `!!bool red`
        raise Unreadable("a value is not of the kind that its tag (!!) tells") from error
    except (yaml.YAMLError, ValueError) as error:
        raise Unreadable(str(error).splitlines()[0]) from error
    finally:
        if loader is not None:
            loader.dispose()


def _walk(node: Any, path: Path, lines: dict[Path, int], seen: set[int]) -> None:
    line = node.start_mark.line + 1
    lines[path] = line
    if id(node) in seen:
        raise Unreadable(f"line {line}: an alias can't be taken, write the value out")
    if node.tag == "tag:yaml.org,2002:int" and len(node.value) > MAX_DIGITS:
        raise Unreadable(f"line {line}: a whole number has at most {MAX_DIGITS} digits")
    if len(path) > MAX_DEPTH:
        raise Unreadable(f"line {line}: is nested too deeply")
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for at, one in enumerate(node.value):
            _walk(one, (*path, at), lines, seen)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            where = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise Unreadable(f"line {where}: a key must be a text (quote it)")
            if (*path, key.value) in lines:
                raise Unreadable(f"line {where}: the key {key.value} stands twice")
            _walk(value, (*path, key.value), lines, seen)
            lines[(*path, key.value)] = where
