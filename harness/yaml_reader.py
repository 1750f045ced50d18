"""Reads a YAML file as plain data with the place of every key and value, and refuses the rest.

What it takes is YAML 1.2's core schema: `yes`, `no`, `on` and dates are text, only `true` and
`false` are booleans. What it refuses is what hides meaning or costs memory: anchors, aliases, tags,
duplicate keys, several documents, numbers that are not finite, control characters. It works on
events, so nothing is built from a file that turns out to be too deep or too large.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol

import yaml

from harness.errors import Problem, SpecError

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_NODES = 20_000
MAX_DIGITS = 18
MAX_NUMBER_LENGTH = 64

Tree = dict[str, Any]
Steps = tuple[str | int, ...]
Place = tuple[int, int]
"""Line and column, from 1."""

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
    "\ud800-\udfff\ufffe\uffff]"
)
"""Control characters but for tab and line ends, and those that reorder or break lines unseen."""

NULL = re.compile(r"~|null|Null|NULL|")
BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
INTEGER = re.compile(r"[-+]?[0-9]+")
OTHER_BASE = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class _Mark(Protocol):
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Source:
    """A file's content: the `tree`, and where its parts are.

    `places` maps a path in the tree to the place of the value, `keys` to the place of its key.
    """

    name: str
    tree: Tree
    places: dict[Steps, Place] = field(repr=False)
    keys: dict[Steps, Place] = field(repr=False)

    def problem(
        self, path: Steps, message: str, *, hint: str | None = None, at_key: bool = False
    ) -> Problem:
        """Return a problem at `path`; `at_key` says that the key there is wrong, not its value."""
        line, column = (self.keys if at_key else self.places).get(path, (0, 0))
        return Problem(self.name, line, column, dotted(path), message, hint)


def dotted(path: Steps) -> str:
    """Return `path` as text: `slo[0].limit_s`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def shown(value: object, limit: int = 60) -> str:
    """Return `value` as a message shows it: quoted, printable, at most `limit` characters."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def read_yaml(path: Path) -> Source:
    """Return the content of the YAML file at `path`. SpecError lists what is wrong, with places."""
    name = display_name(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError(f"{name}: cannot be read: {error.strerror or error}") from None
    return parse_yaml(content, name)


def display_name(path: Path) -> str:
    """Return `path` as messages show it: relative to the working folder where it is inside."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def parse_yaml(content: bytes, name: str) -> Source:
    """Return the YAML in `content`; `name` is what messages call it. SpecError if it is refused."""
    text = _text(content, name)
    reader = _Reader(name)
    try:
        reader.read(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reader.problems.append(_syntax(name, text, mark, error.problem or error.context or ""))
    except yaml.YAMLError as error:
        reader.problems.append(Problem(name, 0, 0, "", f"not YAML: {shown(str(error), 200)}"))
    except _RefusedError:
        pass
    if reader.problems:
        raise SpecError.of(reader.problems)
    return Source(name, reader.tree, reader.places, reader.keys)


def _text(content: bytes, name: str) -> str:
    """Return `content` decoded; SpecError if it is too large, not UTF-8, or steers a terminal."""
    if len(content) > MAX_BYTES:
        raise SpecError.of([Problem(name, 0, 0, "", f"larger than {MAX_BYTES:,} bytes")])
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise SpecError.of([Problem(name, 1, 1, "", "UTF-16; save the file as UTF-8")])
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", errors="replace")
        message = f"byte 0x{content[error.start]:02x} is not UTF-8"
        problem = Problem(name, *_place(before), "", message, "save the file as UTF-8")
        raise SpecError.of([problem]) from None
    found = FORBIDDEN.search(text)
    if found:
        message = f"the character U+{ord(found[0]):04X} is not allowed"
        hint = "it is a control character, or one that changes the order of what is read"
        raise SpecError.of([Problem(name, *_place(text[: found.start()]), "", message, hint)])
    return text


def _place(before: str) -> Place:
    """Return the place of what follows the text `before`."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _syntax(name: str, text: str, mark: _Mark | None, message: str) -> Problem:
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    lines = text.splitlines()
    around = lines[line - 1] if 0 < line <= len(lines) else ""
    hint = None
    if "\t" in around[: len(around) - len(around.lstrip())] or "'\\t'" in message:
        message, hint = "a tab where only spaces may be", "indent with spaces"
    elif "mapping values are not allowed" in message:
        hint = "text that holds ': ' needs quotes; or the line is indented too far"
    elif "could not find expected ':'" in message:
        hint = "every key needs ': ' after it"
    return Problem(name, line, column, "", f"not YAML: {message}", hint)


class _RefusedError(Exception):
    """The file is refused as a whole; the problem is noted."""


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read; `key` is the mapping's key that waits for its value."""

    value: Tree | list[Any]
    path: Steps
    key: str | None = None

    def next_path(self) -> Steps:
        if isinstance(self.value, list):
            return (*self.path, len(self.value))
        assert self.key is not None
        return (*self.path, self.key)

    def awaits_key(self) -> bool:
        return isinstance(self.value, dict) and self.key is None


class _Reader:
    """Builds the tree from the events, noting problems; ends early where going on is unsafe."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tree: Tree = {}
        self.places: dict[Steps, Place] = {}
        self.keys: dict[Steps, Place] = {}
        self.problems: list[Problem] = []

    def read(self, text: str) -> None:
        stack: list[_Open] = []
        documents = nodes = 0
        for event in _events(text):
            place = (event.start_mark.line + 1, event.start_mark.column + 1)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._refuse(place, (), "a second document; a file holds one", "remove '---'")
            elif isinstance(event, yaml.AliasEvent):
                hint = "write the value out"
                self._refuse(place, _path(stack), "aliases ('*name') are not allowed", hint)
            elif isinstance(event, yaml.CollectionEndEvent):
                stack.pop()
            elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
                nodes += 1
                if nodes > MAX_NODES:
                    self._refuse(place, (), f"more than {MAX_NODES:,} keys and values")
                self._node(event, place, stack)
        if not documents:
            self._not_a_mapping((1, 1), "is empty")

    def _node(
        self,
        event: yaml.ScalarEvent | yaml.CollectionStartEvent,
        place: Place,
        stack: list[_Open],
    ) -> None:
        path = _path(stack)
        if event.anchor is not None:
            self._refuse(place, path, "anchors ('&name') are not allowed", "write the value out")
        if event.tag is not None:
            self._refuse(place, path, f"tags are not allowed: {shown(event.tag)}")
        if isinstance(event, yaml.ScalarEvent):
            if not stack:
                empty = not event.value and not _quoted(event)
                self._not_a_mapping(place, "is empty" if empty else "holds only text")
            if stack[-1].awaits_key():
                self._key(event, place, stack[-1])
            else:
                self._put(stack[-1], path, place, self._scalar(event, place, path))
            return
        mapping = isinstance(event, yaml.MappingStartEvent)
        if not stack and not mapping:
            self._not_a_mapping(place, "is a list")
        if stack and stack[-1].awaits_key():
            self._refuse(place, path, "a key must be text")
        if len(stack) >= MAX_DEPTH:
            self._refuse(place, (), f"nested more than {MAX_DEPTH} deep")
        value: Tree | list[Any] = self.tree if not stack else {} if mapping else []
        if stack:
            self._put(stack[-1], path, place, value)
        else:
            self.places[()] = place
        stack.append(_Open(value, path))

    def _not_a_mapping(self, place: Place, what: str) -> NoReturn:
        self._refuse(place, (), f"the file {what}", "it must hold keys, the first 'schema: 1'")

    def _key(self, event: yaml.ScalarEvent, place: Place, mapping: _Open) -> None:
        assert isinstance(mapping.value, dict)
        key = event.value
        path = (*mapping.path, key)
        if not _quoted(event) and not isinstance(_plain(key), str):
            self._note(place, mapping.path, f"a key must be text, not {shown(key)}")
        if FORBIDDEN.search(key) or "\n" in key or "\t" in key or len(key) > 200:
            self._refuse(place, mapping.path, f"not a key: {shown(key)}")
        if key in mapping.value:
            first = self.keys[path][0]
            self._note(place, mapping.path, f"duplicate key {shown(key)}, first on line {first}")
        else:
            self.keys[path] = place
        mapping.key = key

    def _put(self, top: _Open, path: Steps, place: Place, value: object) -> None:
        self.places[path] = place
        if isinstance(top.value, list):
            top.value.append(value)
        else:
            assert top.key is not None
            top.value[top.key] = value
            top.key = None

    def _scalar(self, event: yaml.ScalarEvent, place: Place, path: Steps) -> object:
        text = event.value
        found = FORBIDDEN.search(text)
        if found:
            self._note(place, path, f"the character U+{ord(found[0]):04X} is not allowed")
            return text
        if _quoted(event):
            return text
        value = _plain(text)
        if isinstance(value, _Bad):
            self._note(place, path, value.message, value.hint)
            return None
        return value

    def _note(self, place: Place, path: Steps, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(self.name, *place, dotted(path), message, hint))

    def _refuse(self, place: Place, path: Steps, message: str, hint: str | None = None) -> NoReturn:
        self._note(place, path, message, hint)
        raise _RefusedError


def _quoted(event: yaml.ScalarEvent) -> bool:
    return event.style in ("'", '"', "|", ">")


def _events(text: str) -> Iterator[Any]:
    yield from yaml.parse(text, Loader=LOADER)


def _path(stack: list[_Open]) -> Steps:
    if not stack:
        return ()
    return stack[-1].path if stack[-1].awaits_key() else stack[-1].next_path()


@dataclass(frozen=True, slots=True)
class _Bad:
    """A plain scalar that is refused."""

    message: str
    hint: str | None = None


def _plain(text: str) -> str | int | float | bool | _Bad | None:
    """Return what the unquoted `text` stands for under YAML 1.2's core schema."""
    if NULL.fullmatch(text):
        return None
    if BOOLEAN.fullmatch(text):
        return text.lower() == "true"
    if INTEGER.fullmatch(text):
        digits = text.lstrip("+-")
        if len(digits) > MAX_DIGITS:
            return _Bad(f"a number of {len(digits):,} digits; at most {MAX_DIGITS}")
        if len(digits) > 1 and digits[0] == "0":
            hint = f"write {int(digits)}, or quote it if it is text"
            return _Bad(f"{shown(text)} has leading zeros, which some read as octal", hint)
        return int(text)
    if OTHER_BASE.fullmatch(text):
        return _Bad(f"{shown(text)}: write numbers in decimal, or quote what is text")
    if NOT_FINITE.fullmatch(text):
        return _Bad(f"{shown(text)} is not a finite number")
    if FLOAT.fullmatch(text):
        value = float(text) if len(text) <= MAX_NUMBER_LENGTH else math.inf
        return value if math.isfinite(value) else _Bad(f"{shown(text)} is not a finite number")
    return text
