"""JSONL: bytes -> numbered objects, with the place of whatever isn't one."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sea_data.formats.errors import RowError
from sea_env.tokens import plain_json

LONGEST_LINE = 16 << 20
"""Bytes. A million-character argument fits many times over; a file without newlines does not."""
_WORDS: dict[type, str] = {list: "a list", dict: "an object", str: "a string"}


def split(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Lines without their ends. Of one longer than `LONGEST_LINE`, only so much as to tell."""
    rest: list[bytes] = []
    held = 0
    for piece in pieces:
        first, *others = piece.split(b"\n")
        rest.append(first[: max(0, LONGEST_LINE + 1 - held)])
        held += len(rest[-1])
        for line in others:
            yield b"".join(rest)
            rest, held = [line[: LONGEST_LINE + 1]], min(len(line), LONGEST_LINE + 1)
    if held:
        yield b"".join(rest)


def objects(lines: Iterable[bytes], file: str) -> Iterator[tuple[int, dict[str, Any] | RowError]]:
    """(line number from 1, row or error) for every line that isn't blank."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, parse(line, file, number)


def parse(line: bytes, file: str, number: int) -> dict[str, Any] | RowError:
    """One line as a row, or what is wrong with it."""
    if len(line) > LONGEST_LINE:
        return RowError("", f"is longer than {LONGEST_LINE >> 20} MiB", file, number)
    try:
        # What Windows writes before a text is no part of it.
        value = plain_json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError as error:
        return RowError("", f"isn't valid UTF-8 (byte {error.start})", file, number)
    except ValueError as error:
        return RowError("", f"isn't valid JSON: {error}", file, number)
    if not isinstance(value, dict):
        return RowError("", "must be a JSON object", file, number)
    return value


def want(row: Mapping[str, Any], field: str, kind: type, path: str = "") -> Any:
    """`row[field]`, which must be of that type; None and absence give an empty value of it."""
    value = row.get(field)
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise RowError(f"{path}{field}", f"must be {_WORDS[kind]}, not {type(value).__name__}")
    return value
