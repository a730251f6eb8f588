"""A generated `sft` file of any size in the published layout: one row an assistant turn."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_WORDS = ("order", "refund", "address", "please", "confirm", "flight", "line", "data", "é", "№")


def sft_rows(dialogues: int, turns: int, prompt_bytes: int, seed: int = 0) -> Iterator[str]:
    """Lines; every row holds all that came before it, so bytes grow with `turns` squared."""
    rng = random.Random(seed)
    for number in range(dialogues):
        policy = " ".join(rng.choices(_WORDS, k=prompt_bytes // 7))
        messages: list[dict[str, Any]] = [{"role": "system", "content": policy}]
        failed = number % 5 == 0
        for turn in range(turns):
            messages.append({"role": "user", "content": " ".join(rng.choices(_WORDS, k=30))})
            answer = {
                "role": "assistant",
                "content": " ".join(rng.choices(_WORDS, k=40)),
                "thinking": " ".join(rng.choices(_WORDS, k=60)),
                "tool_calls": [{"name": "get", "arguments": {"id": rng.randint(0, 9999)}}],
            }
            metadata = {
                "source_dialog_id": f"d{number}",
                "turn_index": turn,
                "correct": int(not failed),
                "reward": float(not failed),
            }
            row = {"messages": messages, "answer": answer, "metadata": metadata}
            yield json.dumps(row, ensure_ascii=False)
            kept = {key: value for key, value in answer.items() if key != "thinking"}
            messages.append(kept)
            messages.append({"role": "tool", "content": json.dumps({"n": turn, "x": "y" * 300})})


@pytest.fixture(scope="session")
def write_sft() -> Callable[..., Path]:
    """`write_sft(path, dialogues, turns, prompt_bytes)` -> the path."""

    def write(path: Path, dialogues: int, turns: int, prompt_bytes: int) -> Path:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in sft_rows(dialogues, turns, prompt_bytes))
        return path

    return write
