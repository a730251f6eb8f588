"""`sea model check`: can this folder be trained, and does the trainer compute what it means?"""

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from sea_cli import fetching
from sea_cli.common import Commands, command, say
from sea_cli.model_scores import PROGRAMS, RESULT, Rows, Scores
from sea_cli.options import positive
from sea_data.errors import DataError
from sea_data.formats import data_files
from sea_data.models import folder_check, tokenizer_ids, weight_files
from sea_data.models import shape as shapes
from sea_data.models.shape import ModelConfigError, ModelShape
from sea_env.tokens import model_folder
from sea_env.tokens.renderer import Renderer

_EXAMPLE = """\
sea model check models/qwen3
  sea model check s3://bucket/run/stages/rl/export --text "Where is my order?" --text-file texts.txt
  sea model check models/tiny --text "Hello there" --json"""
_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.5}
"""Of one token's log-probability: more than rounding makes of it."""
_SHOWN = 2000


class NotComparedError(DataError):
    """One of them could not compute the texts."""


@dataclass(frozen=True)
class Difference:
    """The largest difference between two of them."""

    first: str
    second: str
    largest: float
    mean: float
    row: int
    token: int

    def sentence(self) -> str:
        return (
            f"{self.first} and {self.second}: largest difference {self.largest:.3g} (text "
            f"{self.row + 1}, token {self.token + 1}), mean {self.mean:.3g}"
        )


def add(commands: Commands) -> None:
    parser = command(
        commands,
        "check",
        "check a model folder's files; with a text, compare log-probabilities of trainer, engine "
        "and transformers",
        _EXAMPLE,
    )
    parser.add_argument("folder", metavar="FOLDER", help=fetching.FOLDER)
    parser.add_argument("--text", action="append", default=[], help="a text to compare on")
    parser.add_argument("--text-file", type=Path, help="a file with one text per line")
    parser.add_argument(
        "--of",
        action="append",
        choices=sorted(PROGRAMS),
        help="use only this one (repeat the option for several; default all)",
    )
    parser.add_argument("--dtype", choices=sorted(_TOLERANCE), default="float32")
    parser.add_argument(
        "--tolerance",
        type=float,
        help="largest difference of one token's log-probability that is fine (default "
        + ", ".join(f"{value:g} in {name}" for name, value in _TOLERANCE.items())
        + ")",
    )
    parser.add_argument(
        "--timeout", type=positive, default=1800, help="seconds that each may take (default 1800)"
    )
    parser.add_argument("--json", action="store_true", help="print the differences as JSON")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    lines = data_files.text(given.text_file).splitlines() if given.text_file else []
    texts = [*given.text, *lines]
    with fetching.folder(given.folder, lambda name: "/" not in name) as folder:
        shape, renderer = _files(folder)
        if not given.json:
            say(_facts(shape, renderer))
        if not texts:
            return 0
        rows = _rows(texts, renderer, shape)
        names = given.of or list(PROGRAMS)
        scores = {name: _scores(name, folder, rows, given) for name in dict.fromkeys(names)}
    return _report(list(differences(scores)), given)


def _files(folder: Path) -> tuple[ModelShape, Renderer]:
    """Raises SeaError for the first file that can't be used."""
    try:
        config = (folder / "config.json").read_bytes()
    except FileNotFoundError as error:
        raise ModelConfigError(
            f"{folder} has no config.json: name a folder in Hugging Face layout."
        ) from error
    shape = shapes.parse(config)
    folder_check.check(weight_files.on_disk(folder), shape)
    model_folder.tokenizer(folder)
    tokenizer_ids.check((folder / "tokenizer.json").read_bytes(), shape.vocabulary)
    return shape, Renderer.load(folder)


def _facts(shape: ModelShape, renderer: Renderer) -> str:
    kind = f"{shape.experts} experts" if shape.experts else "dense"
    style = renderer.style
    return (
        f"{shape.layers} layers of {shape.hidden}, {kind}, {shape.vocabulary} tokens, up to "
        f"{shape.context} per sequence; calls {style.calls}, thinking {style.thinking}: every "
        "field is computed and every tensor is used"
    )


def _rows(texts: Sequence[str], renderer: Renderer, shape: ModelShape) -> Rows:
    # One token short of the context: the engine generates one.
    rows = [renderer.encode(text)[: shape.context - 1] for text in texts if text]
    rows = [row for row in rows if len(row) > 1]
    if not rows:
        raise NotComparedError("No text has more than one token: give a longer one.")
    return rows


def _scores(name: str, folder: Path, rows: Rows, given: argparse.Namespace) -> Scores:
    """Raises NotComparedError with what the program said last."""
    program = [sys.executable, "-W", "ignore", "-m", "sea_cli.model_scores"]
    try:
        done = subprocess.run(
            [*program, name, str(folder), given.dtype],
            check=False,  # its exit code and words become one sentence
            input=json.dumps(rows),
            capture_output=True,
            text=True,
            timeout=given.timeout,
        )
    except subprocess.TimeoutExpired as error:
        raise NotComparedError(
            f"{name} did not compute the texts within {given.timeout} s: raise --timeout, or leave "
            "it out with --of."
        ) from error
    lines = [line for line in done.stdout.splitlines() if line.startswith(RESULT)]
    if done.returncode or not lines:
        said = (done.stderr.strip() or done.stdout.strip())[-_SHOWN:]
        raise NotComparedError(f"{name} can't compute the texts (leave it out with --of): {said}")
    found: Scores = json.loads(lines[-1].removeprefix(RESULT))
    return found


def differences(scores: dict[str, Scores]) -> Iterator[Difference]:
    """The difference of each pair, in the order given."""
    for first, second in combinations(scores, 2):
        pairs = [
            (_distance(a, b), row, token)
            for row, (left, right) in enumerate(zip(scores[first], scores[second], strict=True))
            for token, (a, b) in enumerate(zip(left, right, strict=True), 1)
        ]
        largest, row, token = max(pairs)
        mean = sum(pair[0] for pair in pairs) / len(pairs)
        yield Difference(first, second, largest, mean, row, token)


def _distance(a: float, b: float) -> float:
    """Infinite where one of them is no number."""
    distance = abs(a - b)
    return math.inf if math.isnan(distance) else distance


def _report(found: Sequence[Difference], given: argparse.Namespace) -> int:
    allowed = _TOLERANCE[given.dtype] if given.tolerance is None else given.tolerance
    beyond = [one for one in found if one.largest > allowed]
    if given.json:
        say(json.dumps({"differences": [vars(one) for one in found], "tolerance": allowed}))
        return 1 if beyond else 0
    for one in found:
        say(one.sentence())
    if beyond:
        say(f"more than {allowed:g}: they don't compute the same model")
    return 1 if beyond else 0
