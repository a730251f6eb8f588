"""The model and the data of examples/thinking.yaml: the shop's desk, by a model that thinks.

    sea data shop --out out/thinking
    python examples/thinking_model.py out/thinking
    make demo DEMO_ARGS="--job examples/thinking.yaml --data out/thinking"

Adds a thought to every turn of the agent's dialogues, and writes `model/`: the demo's tiny model
with a chat template that shows thoughts of the last exchange only, as Qwen3's does.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sea_data.tiny_model import model_folder, tokenizer

CONTEXT = 512
_LAST_QUESTION = """\
{%- set ns = namespace(last=-1) -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}{%- set ns.last = loop.index0 -%}{%- endif -%}
{%- endfor -%}
"""
_CONTENT = "message.role + '\\n' + (message.content or '')"
_THOUGHT = (
    "message.role + '\\n' + ("
    "('<think>\\n' + (message.reasoning_content or '') + '\\n</think>\\n\\n')"
    " if message.role == 'assistant' and loop.index0 > ns.last else '') + (message.content or '')"
)


def template() -> str:
    """The tiny model's chat template with thoughts after the last question."""
    source = model_folder.CHAT_TEMPLATE
    assert source.count(_CONTENT) == 1, "the tiny model's template has changed"
    return _LAST_QUESTION + source.replace(_CONTENT, _THOUGHT)


def with_thoughts(row: dict[str, Any]) -> dict[str, Any]:
    """The dialogue with a thought of a few words in each turn of the agent."""
    for message in [*row["messages"], row["answer"]]:
        if message["role"] == "assistant":
            calls = message.get("tool_calls") or []
            message["thinking"] = f"Use {calls[0]['name']}." if calls else "Say it."
    return row


def main() -> None:
    folder = Path(sys.argv[1])
    file = folder / "sft.jsonl"
    rows = [with_thoughts(json.loads(line)) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    user_rows = (json.loads(line) for line in (folder / "user_sft.jsonl").read_text().splitlines())
    model_folder.build(texts([*rows, *user_rows]), folder / "model", CONTEXT)
    config = folder / "model" / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "chat_template": template()}))


def texts(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield from tokenizer.texts(tokenizer.from_rows(rows))
    yield from (
        message["thinking"]
        for row in rows
        for message in row["messages"]
        if message.get("thinking")
    )


if __name__ == "__main__":
    main()
