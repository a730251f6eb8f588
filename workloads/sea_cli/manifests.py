"""Manifests as kubectl reads them: YAML 1.1 in Go's dialect or JSON, with the line of every field.

kubectl turns a file into JSON before it sends anything: `0100` becomes 64, `yes` becomes true, and
of two fields of one name the last remains. Only here can such things be noticed.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]

MAX_NODES = 100_000
"""Per document: aliases can multiply a small file without bound."""

_TRUE = frozenset(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"])
_FALSE = frozenset(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"])
_PLAIN_TRUTH = frozenset({"true", "True", "TRUE", "false", "False", "FALSE"})
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_INTEGER = re.compile(r"[-+]?(0b[01]+|0o?[0-7]+|0x[0-9a-fA-F]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_STRING = "tag:yaml.org,2002:str"
_MERGE = "<<"


class ManifestError(Exception):
    """The text is no YAML that kubectl could read."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.line, self.sentence = line, sentence


@dataclass(frozen=True)
class Remark:
    """Something about the text itself that its value no longer shows."""

    line: int
    path: Path
    sentence: str


@dataclass
class Document:
    """One document of a file."""

    value: Any
    lines: dict[Path, int]
    """Line of every field and item, counted from 1."""
    duplicates: list[Remark] = field(default_factory=list)
    readings: list[Remark] = field(default_factory=list)
    """Values that YAML 1.1 reads in a way that most people don't expect."""

    def line(self, path: Path) -> int:
        """Line of a field, or of the nearest object around it that is there."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def documents(text: str) -> Iterator[Document]:
    """The documents of a file that aren't empty.

    Raises:
        ManifestError: from there on the text can't be read.
    """
    for start, part in _json_documents(text) or [(0, text)]:
        try:
            for node in yaml.compose_all(part, Loader=yaml.SafeLoader):
                if node is not None:
                    yield _Reader(start).read(node)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = start + (mark.line if mark else 0) + 1
            raise ManifestError(line, _why(part, error)) from error
        except yaml.YAMLError as error:
            raise ManifestError(start + 1, f"this is no YAML: {error}") from error
        except RecursionError as error:
            raise ManifestError(start + 1, "this is nested too deeply") from error


def _json_documents(text: str) -> list[tuple[int, str]]:
    """First line (from 0) and text of each JSON document; empty if it is YAML."""
    found, place, decoder = [], 0, json.JSONDecoder()
    while rest := text[place:].lstrip():
        begin = len(text) - len(rest)
        if not rest.startswith("{"):
            return []
        try:
            _, length = decoder.raw_decode(rest)
        except (ValueError, RecursionError):
            return []
        # A tab in JSON is always a blank, which YAML only reads as a blank.
        found.append((text.count("\n", 0, begin), rest[:length].replace("\t", " ")))
        place = begin + length
    return found


def _why(text: str, error: yaml.MarkedYAMLError) -> str:
    problem = f"{error.problem or 'it is cut off'}"
    if "'\\t'" in problem:
        return "YAML allows no tab here: replace it by blanks"
    if "{{" in text:
        return f"this is no YAML yet ({problem}): it looks like a template, render it first"
    return f"this is no YAML ({problem}): correct the indentation, quotes or brackets here"


class _Reader:
    """Builds the value of one document; `start` is the number of lines before it."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._nodes = 0
        self._open: set[int] = set()
        self._document = Document(None, {})

    def read(self, node: yaml.Node) -> Document:
        self._document.lines[()] = self._line(node)
        self._document.value = self._value(node, ())
        return self._document

    def _line(self, node: yaml.Node) -> int:
        return self._start + int(node.start_mark.line) + 1

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self._nodes += 1
        if id(node) in self._open or self._nodes > MAX_NODES:
            raise ManifestError(self._line(node), "an alias repeats without end: write it out")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return self._sequence(node, path)
            assert isinstance(node, yaml.ScalarNode)
            return self._scalar(node, path)
        finally:
            self._open.discard(id(node))

    def _sequence(self, node: yaml.SequenceNode, path: Path) -> list[Any]:
        items = []
        for i, item in enumerate(node.value):
            self._document.lines[*path, i] = self._line(item)
            items.append(self._value(item, (*path, i)))
        return items

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                raise ManifestError(
                    self._line(key_node), "a field's name must be a text; render templates first"
                )
            place, line = (*path, key), self._line(key_node)
            if key == _MERGE and key_node.style is None:
                merged = self._merged(value_node, path) | merged
                continue
            if key in own:
                first = self._document.lines[place]
                sentence = f"is set twice, here and in line {first}; the last wins: remove one"
                self._document.duplicates.append(Remark(line, place, sentence))
            self._document.lines[place] = line
            own[key] = self._value(value_node, place)
        return merged | own

    def _merged(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        values = [self._value(part, path) for part in parts]
        # Of several, the first wins.
        mappings = [value for value in reversed(values) if isinstance(value, dict)]
        return {key: value for mapping in mappings for key, value in mapping.items()}

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        text = str(node.value)
        if node.style is not None or (node.tag == _STRING and not _is_plain(node)):
            return _joined(text)
        value = plain(text)
        if not isinstance(value, str) and value is not None and not _as_expected(text, value):
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            sentence = f"YAML reads {text} as {shown}: write {shown}, or quotes if it is a text"
            self._document.readings.append(Remark(self._line(node), path, sentence))
        return value


def _is_plain(node: yaml.ScalarNode) -> bool:
    """Whether PyYAML resolved it, rather than an explicit `!!str`."""
    return node.end_mark.index - node.start_mark.index == len(node.value)


def plain(text: str) -> Any:
    """What Go's YAML makes of a text without quotes."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    digits = text.replace("_", "") if text[:1].isdigit() or text[:1] in ("-", "+") else text
    if _INTEGER.fullmatch(digits):
        return _integer(digits)
    if _FLOAT.fullmatch(digits):
        value = float(digits)
        # JSON has one kind of number: 1e3 arrives as 1000.
        return int(value) if value.is_integer() and abs(value) < 2**63 else value
    return text


def _integer(digits: str) -> int:
    # Go reads a leading zero as octal, which Python's base 0 refuses.
    octal = re.fullmatch(r"([-+]?)0([0-7]+)", digits)
    return int(f"{octal[1]}0o{octal[2]}" if octal else digits, 0)


def _as_expected(text: str, value: Any) -> bool:
    if isinstance(value, bool):
        return text in _PLAIN_TRUTH
    return _DECIMAL.fullmatch(text) is not None or (
        _FLOAT.fullmatch(text) is not None and not re.match(r"[-+]?0[0-9]", text)
    )


def _joined(text: str) -> str:
    """JSON's pairs of escapes for one character become that character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
