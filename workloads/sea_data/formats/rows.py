"""Rows of the published layout, for writing: tasks, and dialogues as their last assistant turn."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sea_env.tokens.messages import Message, calls_of


def task_row(
    identity: str,
    purpose: str,
    scenario: Mapping[str, Any],
    criteria: Mapping[str, Any],
    db_path: str,
) -> dict[str, Any]:
    """One `rl` row; the criteria become a JSON string, as published."""
    return {
        "id": identity,
        "description": {"purpose": purpose},
        "user_scenario": dict(scenario),
        "evaluation_criteria": json.dumps(criteria),
        "db_path": db_path,
    }


def dialogue_row(
    identity: str,
    messages: Sequence[Message],
    scenario: Mapping[str, Any],
    reward: float,
    user_tools: Sequence[str] | None = None,
) -> dict[str, Any]:
    """One `sft` row that holds a whole dialogue: its last assistant turn is the answer.

    `whole_dialogue` in its metadata says that all assistant turns are to be trained, not only the
    answer. `user_tools` is the task's own choice of the user's tools, None for all.

    What follows the last assistant turn (the user's ###STOP###) is left out.
    """
    last = max(i for i, message in enumerate(messages) if message["role"] == "assistant")
    answer = messages[last]
    instructions = scenario.get("instructions") or {}
    turns = sum(message["role"] == "assistant" for message in messages)
    return {
        "messages": [dict(message) for message in messages[:last]],
        "answer": {
            "role": "assistant",
            "content": answer.get("content") or "",
            "thinking": answer.get("thinking"),
            "tool_calls": [dict(call) for call in calls_of(answer)],
        },
        "metadata": {
            "source_dialog_id": identity,
            "turn_index": turns - 1,
            "reason_for_call": instructions.get("reason_for_call"),
            "correct": int(reward),
            "reward": reward,
            "whole_dialogue": True,
            "user_scenario": dict(scenario),
            **({} if user_tools is None else {"user_tools": list(user_tools)}),
        },
    }


def dumps(row: Mapping[str, Any]) -> str:
    """One line of JSONL."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"
