"""`sea job check`: what is wrong with SEATrainingJobs in files, before a cluster sees them."""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sea_api.findings import Finding, nulls, problems
from sea_api.unknown_fields import dotted
from sea_api.v1alpha1.advice import advice
from sea_api.v1alpha1.job import GROUP, KIND, Spec
from sea_cli.common import Commands, command, say
from sea_cli.manifests import Document, ManifestError, documents

_EXAMPLE = """\
sea job check job.yaml
  helm template my-chart | sea job check -
  sea job check jobs/*.yaml --json"""

STDIN = "-"


@dataclass(frozen=True)
class Line:
    """One line of the report."""

    file: str
    line: int
    path: str
    sentence: str
    warning: bool = False

    def __str__(self) -> str:
        kind = "warning: " if self.warning else ""
        path = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}: {kind}{path}{self.sentence}"


def add(commands: Commands) -> None:
    parser = command(
        commands, "check", "check jobs in files, strictly and without a cluster", _EXAMPLE
    )
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="YAML or JSON, several documents; - for stdin",
    )
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """0 if all jobs are right (warnings allowed), 1 otherwise."""
    jobs, found = 0, []
    for file in given.files:
        number, lines = check(_name(file), _read(file))
        jobs += number
        found += lines
    bad = sum(not line.warning for line in found)
    if given.json:
        report = [{**vars(line), "severity": _severity(line)} for line in found]
        for entry in report:
            del entry["warning"]
        say(json.dumps({"jobs": jobs, "problems": bad, "findings": report}, indent=1))
    else:
        for line in found:
            say(str(line))
        say(_summary(jobs, bad))
    return 1 if bad else 0


def _severity(line: Line) -> str:
    return "warning" if line.warning else "problem"


def _summary(jobs: int, bad: int) -> str:
    noun = "job" if jobs == 1 else "jobs"
    return f"{jobs} {noun}, {_problems(bad)}"


def _problems(bad: int) -> str:
    if not bad:
        return "no problem found"
    return f"{bad} {'problem' if bad == 1 else 'problems'}"


def _name(file: str) -> str:
    return "stdin" if file == STDIN else file


def _read(file: str) -> bytes:
    return sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()


def check(name: str, content: bytes) -> tuple[int, list[Line]]:
    """Number of jobs in a file, and what is wrong with them, line by line."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return 0, [Line(name, line, "", "this is no UTF-8 text: save the file as UTF-8")]
    jobs, found = 0, []
    try:
        for document in documents(text):
            for path, manifest in _manifests(document.value, ()):
                jobs += 1
                found += _sorted(_job(name, document, path, manifest))
    except ManifestError as error:
        found.append(Line(name, error.line, "", error.sentence))
        return jobs, found
    if not jobs:
        found.append(Line(name, 1, "", f"there is no {KIND} in this file: check another file"))
    return jobs, found


def _sorted(lines: Iterator[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: line.line)


def _manifests(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The jobs of a document, those of a List too; other kinds are somebody else's."""
    if not isinstance(value, dict):
        return
    kind, version = str(value.get("kind", "")), str(value.get("apiVersion", ""))
    if kind.endswith("List") and isinstance(value.get("items"), list):
        for i, item in enumerate(value["items"]):
            yield from _manifests(item, (*path, "items", i))
    elif kind.lower() == KIND.lower() or version.partition("/")[0] == GROUP:
        yield path, value


def _job(
    name: str, document: Document, place: tuple[str | int, ...], manifest: dict[str, Any]
) -> Iterator[Line]:
    def line(path: tuple[str | int, ...], sentence: str, *, warning: bool = False) -> Line:
        return Line(name, document.line((*place, *path)), dotted(path), sentence, warning)

    found = [*problems(manifest), *_empty(manifest)]
    refused = {finding.path for finding in found}
    for finding in found:
        yield line(finding.path, finding.sentence)
    for remark in document.duplicates:
        if remark.path[: len(place)] == place:
            below = dotted(remark.path[len(place) :])
            yield Line(name, remark.line, below, remark.sentence)
    for remark in document.readings:
        path = remark.path[len(place) :]
        # A value that isn't accepted either way has its own sentence.
        if remark.path[: len(place)] == place and path not in refused:
            yield Line(name, remark.line, dotted(path), remark.sentence, warning=True)
    for doubt in _advice(manifest):
        yield line(doubt.path, doubt.sentence, warning=True)


def _empty(manifest: dict[str, Any]) -> list[Finding]:
    """Empty fields of the spec: the server puts the default there, if there is one."""
    sentence = "is empty, so its default applies: give it a value, or remove it"
    return [Finding(("spec", *path), sentence) for path in nulls(manifest.get("spec") or {})]


def _advice(manifest: dict[str, Any]) -> list[Any]:
    try:
        return advice(Spec.model_validate(manifest.get("spec")))
    except ValidationError:
        return []
