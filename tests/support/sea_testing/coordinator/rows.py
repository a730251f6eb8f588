"""Small data of a job: task rows of the shop, dialogues, a database."""

import json
from typing import Any

SHOP_DATABASE = b'{"users": {}, "orders": {}, "desk": {"state": {"transferred": false}}}'


def task_row(number: int) -> dict[str, Any]:
    return {
        "id": f"shop_{number}",
        "user_scenario": {"instructions": {"domain": "shop", "reason_for_call": f"order {number}"}},
        "evaluation_criteria": json.dumps({"actions": [], "communicate_info": []}),
        "db_path": f"shop/db{number % 2}.json",
    }


def dialogue(number: int) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "system", "content": "You are a shop desk."},
            {"role": "user", "content": f"Please cancel order A{number}."},
        ],
        "answer": {"role": "assistant", "content": f"Order A{number} is cancelled."},
    }
