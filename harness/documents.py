"""Turns a YAML file into a document of the schema; what is wrong is said by place, in plain words.

Validation is pydantic's, in strict JSON mode: "5" is not a number and 5.0 is not a whole one.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from harness.errors import Problem, SpecError
from harness.schema import Document
from harness.yaml_reader import Source, Steps, read_yaml, shown

D = TypeVar("D", bound=Document)

DISCRIMINATORS = ("kind", "family")


@dataclass(frozen=True, slots=True)
class Loaded(Generic[D]):
    """A document with the source it was read from."""

    document: D
    source: Source


def load_document(path: Path, model: type[D]) -> D:
    """Return the document of type `model` in the YAML file at `path`; SpecError lists all faults.

    The file's name must be the document's `name`; files whose name starts with "_" are free.
    """
    return load(path, model).document


def load(path: Path, model: type[D]) -> Loaded[D]:
    """Do what `load_document` does, and keep the places of keys and values."""
    source = read_yaml(path)
    problems = []
    name = source.tree.get("name")
    if isinstance(name, str) and name != path.stem and not path.name.startswith("_"):
        message = f"the name {shown(name)} is not the file's name {shown(path.stem)}"
        problems.append(source.problem(("name",), message, hint=f"call the file {name}.yaml"))
    try:
        document = validate(source, model)
    except SpecError as error:
        problems.extend(error.problems)
    if problems:
        raise SpecError.of(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    return Loaded(document, source)


def validate(source: Source, model: type[D]) -> D:
    """Return `source` as a document of type `model`. SpecError lists all faults, in file order."""
    problems = []
    version = source.tree.get("schema")
    if isinstance(version, bool | float):
        # Equal to 1 in Python, and so to pydantic, but not what the format says.
        problems.append(source.problem(("schema",), f"must be 1, is {shown(version)}"))
    try:
        document = model.model_validate_json(json.dumps(source.tree), strict=True)
    except ValidationError as error:
        faults = _Faults(source, model.model_json_schema(by_alias=True))
        problems.extend(faults.problems(error.errors(include_url=False, include_input=False)))
    if problems:
        problems = list(dict.fromkeys(problems))
        raise SpecError.of(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    return document


def did_you_mean(name: str, known: Sequence[str]) -> str | None:
    """Return "did you mean 'x'?" for the closest of `known`, or None if none is close."""
    same = [each for each in known if each.lower() == name.lower()]
    close = same or difflib.get_close_matches(name, known, n=1)
    return f"did you mean {shown(close[0])}?" if close else None


@dataclass(frozen=True, slots=True)
class _Fault:
    """One of pydantic's errors, put at its place in the file."""

    kind: str
    steps: Steps
    message: str
    hint: str | None
    at_key: bool = False
    allowed: str | None = None


class _Faults:
    """Says pydantic's errors in the words of the file."""

    def __init__(self, source: Source, schema: dict[str, Any]) -> None:
        self.source = source
        self.schema = schema

    def problems(self, errors: Sequence[ErrorDetails]) -> list[Problem]:
        """Return one problem for each place and fault; the members of a union become one."""
        faults = [self._fault(error) for error in errors if not self._follows(error)]
        alternatives: dict[Steps, list[str]] = {}
        for fault in faults:
            if fault.allowed:
                alternatives.setdefault(fault.steps, []).append(fault.allowed)
        problems = []
        for fault in faults:
            message = fault.message
            if fault.allowed:
                allowed = alternatives.pop(fault.steps, None)
                if allowed is None:
                    continue
                value = shown(_value(self.source.tree, fault.steps))
                message = f"must be {_either(list(dict.fromkeys(allowed)))}, is {value}"
            problems.append(
                self.source.problem(fault.steps, message, hint=fault.hint, at_key=fault.at_key)
            )
        return problems

    def _follows(self, error: ErrorDetails) -> bool:
        """Return True for a list said to be too short only because its entries are wrong."""
        value = _value(self.source.tree, self._steps(error)[0])
        return error["type"] == "too_short" and bool(
            isinstance(value, list) and len(value) >= error["ctx"]["min_length"]
        )

    def _fault(self, error: ErrorDetails) -> _Fault:
        kind, context = error["type"], error.get("ctx", {})
        steps, last = self._steps(error)
        value = _value(self.source.tree, steps)
        if kind == "extra_forbidden":
            known = list(_node(self.schema, self.source.tree, steps).get("properties", {}))
            hint = did_you_mean(last, known) or f"known keys: {', '.join(known)}"
            steps = (*steps, last)
            return _Fault(kind, steps, f"unknown key {shown(last)}", hint, at_key=True)
        if kind == "missing":
            return _Fault(kind, steps, f"missing key {shown(last)}", None)
        if kind == "union_tag_not_found":
            message = f"missing key {context['discriminator']}"
            return _Fault(kind, steps, message, None)
        if kind == "union_tag_invalid":
            steps = (*steps, str(context["discriminator"]).strip("'"))
            known = [name.strip("'") for name in str(context["expected_tags"]).split(", ")]
            return self._literal(kind, steps, known)
        if kind == "literal_error":
            known = _node(self.schema, self.source.tree, steps).get("enum") or []
            node = _node(self.schema, self.source.tree, steps)
            known = known or ([node["const"]] if "const" in node else [])
            if known:
                return self._literal(kind, steps, known)
        if kind in ALLOWED:
            typed = _type_hint(kind, value)
            if kind in MAPPINGS and isinstance(value, str | int | float):
                typed = _keys_hint(_node(self.schema, self.source.tree, steps), value)
            return _Fault(kind, steps, "", typed, allowed=ALLOWED[kind])
        return _Fault(kind, steps, _message(kind, context, value, error["msg"]), None)

    def _literal(self, kind: str, steps: Steps, known: Sequence[object]) -> _Fault:
        value = _value(self.source.tree, steps)
        texts = [str(name) for name in known]
        allowed = texts[0] if len(texts) == 1 else f"one of {', '.join(texts)}"
        hint = did_you_mean(value, texts) if isinstance(value, str) else None
        return _Fault(kind, steps, f"must be {allowed}, is {shown(value)}", hint)

    def _steps(self, error: ErrorDetails) -> tuple[Steps, str]:
        """Return the place of `error` in the tree without pydantic's labels of union members.

        For a missing or unknown key the place is that of the mapping, and the key comes second.
        """
        *way, last = error["loc"] or ("",)
        about_key = error["type"] in ("missing", "extra_forbidden")
        if not about_key:
            way = list(error["loc"])
        node: Any = self.source.tree
        steps: list[str | int] = []
        for position, step in enumerate(way):
            final = position == len(way) - 1 and not about_key
            if isinstance(node, dict) and isinstance(step, str) and step in node:
                if not final and any(node.get(name) == step for name in DISCRIMINATORS):
                    continue
            elif not (isinstance(node, list) and isinstance(step, int) and step < len(node)):
                continue
            node = node[step]
            steps.append(step)
        return tuple(steps), str(last)


ALLOWED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "model_type": "a mapping of keys and values",
    "model_attributes_type": "a mapping of keys and values",
    "dict_type": "a mapping of keys and values",
    "list_type": "a list",
    "tuple_type": "a list",
    "date_type": "a date as in 2026-11-30",
    "date_parsing": "a date as in 2026-11-30",
    "date_from_datetime_parsing": "a date as in 2026-11-30",
    "date_from_datetime_inexact": "a date as in 2026-11-30",
    "datetime_type": "a time as in 2026-11-30T12:00:00Z",
    "datetime_parsing": "a time as in 2026-11-30T12:00:00Z",
    "datetime_from_date_parsing": "a time as in 2026-11-30T12:00:00Z",
}

MAPPINGS = ("model_type", "model_attributes_type")

BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}

NAME_PATTERN = r"^[a-z0-9]+(-[a-z0-9]+)*$"


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _message(kind: str, context: dict[str, Any], value: object, fallback: str) -> str:
    if kind in BOUNDS:
        key, words = BOUNDS[kind]
        return f"must be {words} {context[key]:g}, is {shown(value)}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_too_short":
        return "must not be empty"
    if kind == "string_too_long":
        length = len(value) if isinstance(value, str) else 0
        return f"has {length:,} characters, at most {context['max_length']:,} are allowed"
    if kind == "string_pattern_mismatch":
        if context["pattern"] == NAME_PATTERN:
            return f"must be words of a-z and 0-9 joined by '-', is {shown(value)}"
        return f"must match {context['pattern']}, is {shown(value)}"
    if kind == "too_short":
        least = context["min_length"]
        entries = "entry" if least == 1 else "entries"
        return f"needs at least {least} {entries}, has {context['actual_length']}"
    if kind == "finite_number":
        return "must be a finite number"
    return fallback[:1].lower() + fallback[1:]


def _type_hint(kind: str, value: object) -> str | None:
    """Return how to turn `value` into what was wanted, where that is plain."""
    if kind in ("int_type", "float_type") and isinstance(value, str):
        bare = value.replace("_", "").replace(",", "")
        try:
            float(bare)
        except ValueError:
            digits = any(letter.isdigit() for letter in value)
            return "write the number alone, in the unit that the key names" if digits else None
        return f"write {bare}, without quotes or separators"
    if kind in ("int_from_float", "int_type") and isinstance(value, float) and value.is_integer():
        return f"write {int(value)}"
    if kind == "string_type" and isinstance(value, int | float):
        return f'put quotes around it: "{json.dumps(value)}"'
    if kind == "bool_type" and isinstance(value, str):
        word = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(value.lower())
        return f"write {word}" if word else None
    return None


def _keys_hint(node: dict[str, Any], value: object) -> str | None:
    """Return the keys of the mapping that stands where `value` does; of a fact, with `value`."""
    required = [str(key) for key in node.get("required", [])]
    if not required:
        return None
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else "NUMBER"
    known = {"value": str(number), "source": "URL or page", "date": "2026-11-30"}
    return f"as in {{{', '.join(f'{key}: {known.get(key, chr(8230))}' for key in required)}}}"


def _value(tree: object, steps: Steps) -> object:
    """Return the part of `tree` at `steps`, or None if there is none."""
    for step in steps:
        if isinstance(tree, dict):
            tree = tree.get(step)
        elif isinstance(tree, list) and isinstance(step, int) and step < len(tree):
            tree = tree[step]
        else:
            return None
    return tree


def _node(schema: dict[str, Any], tree: object, steps: Steps) -> dict[str, Any]:
    """Return the JSON Schema that holds for the part of `tree` at `steps`; {} if none does."""
    node = _resolved(schema, schema, tree)
    for step in steps:
        tree = _value(tree, (step,))
        if isinstance(step, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(step) or node.get("additionalProperties") or {}
        node = _resolved(schema, node, tree) if isinstance(node, dict) else {}
    return node


def _resolved(schema: dict[str, Any], node: dict[str, Any], tree: object) -> dict[str, Any]:
    """Follow references, the one member that is not null, and the member that `kind` names."""
    while True:
        members = [m for m in node.get("anyOf", []) if m.get("type") != "null"]
        discriminator = node.get("discriminator")
        if "$ref" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]]
        elif len(members) == 1:
            node = members[0]
        elif discriminator:
            value = _value(tree, (discriminator["propertyName"],))
            reference = discriminator["mapping"].get(value) if isinstance(value, str) else None
            if reference is None:
                return {}
            node = {"$ref": reference}
        else:
            return node
