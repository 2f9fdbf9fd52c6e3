"""Definitions in YAML, read with the line of each value, so that a fault names its place."""

import json
import pathlib
from typing import Any, Literal, NamedTuple

import yaml

from fieldloom_engine.definitions import Fault, Path, shown

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_DIGITS = 32  # of a whole number: no definition has a longer one, and Python refuses to show it


class Unreadable(Exception):  # noqa: N818 - it reads as what happened
    """A text that is no definition; the message names the line."""


_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("bool", "float", "int", "map", "null", "seq", "str"))


class Faulty(Exception):  # noqa: N818 - it reads as what happened
    """A file that is no definition: `faults` holds all that is wrong with it, each with its line and path."""

    def __init__(self, faults: list[dict[str, Any]]) -> None:
        super().__init__()
        self.faults = faults


class _Loader(yaml.SafeLoader):
    """Reads what JSON has too: a time is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _Dumper(yaml.SafeDumper):
    """Writes values out wherever they stand."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Return True."""
        return True


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
    loader: _Loader | None = None
    try:
        loader = _Loader(text)  # which looks for characters that YAML does not have
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


def read_file(file: pathlib.Path) -> Read:
    """Return what a YAML or JSON file says. Raises Faulty."""
    try:
        return read(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise Faulty([_of_file(f"can't be read: {error}")]) from None
    except Unreadable as error:
        raise Faulty([_of_file(str(error))]) from None


def told(fault: Fault, read: Read) -> dict[str, Any]:
    """Return a fault as commands show it: `line`, `path`, `reason`."""
    return {"line": read.line(fault.path), "path": shown(fault.path), "reason": fault.reason}


def _of_file(reason: str) -> dict[str, Any]:
    return {"line": None, "path": shown(()), "reason": reason}


def write(value: Any, format_: Literal["yaml", "json"]) -> str:
    """Return a value of JSON as text, in the order of its keys; `read` gives it back."""
    if format_ == "json":
        return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _walk(node: Any, path: Path, lines: dict[Path, int], seen: set[int]) -> None:
    line = node.start_mark.line + 1
    lines[path] = line
    if (fault := _fault(node, path, seen)) is not None:
        raise Unreadable(f"line {line}: {fault}")
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


def _fault(node: Any, path: Path, seen: set[int]) -> str | None:
    if id(node) in seen:
        return "an alias can't be taken, write the value out"
    if node.tag not in _TAGS:
        return f"{node.tag.removeprefix('tag:yaml.org,2002:')} is nothing that JSON has too"
    if node.tag == "tag:yaml.org,2002:int" and len(node.value) > MAX_DIGITS:
        return f"a whole number has at most {MAX_DIGITS} digits"
    return "is nested too deeply" if len(path) > MAX_DEPTH else None
