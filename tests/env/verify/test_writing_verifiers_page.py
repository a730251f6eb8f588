"""docs/writing-verifiers.md does what it says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sea_api.v1alpha1.verifier import Verifier as Settings
from sea_data.formats import rl
from sea_env.domains import registry
from sea_env.domains.database import Database
from sea_env.verify.sandbox.inside.zygote import MODULES
from sea_env.verify.sandbox.pool import FunctionSandbox
from sea_env.verify.verdict import Verifier

SHOP = registry.get("shop")
ORDER = {"order": "A7", "email": "Kim5@shop", "status": "pending", "total": 35, "refunded": 0}
DATABASE = Database(
    {
        "users": {"Kim5@shop": {"name": "Kim"}},
        "orders": {"A7": ORDER, "B8": {**ORDER, "order": "B8"}},
        "desk": {"state": {"transferred": False}},
    }
)


@pytest.fixture(scope="module")
def page() -> str:
    folder = next(p for p in Path(__file__).resolve().parents if (p / "docs").is_dir())
    return (folder / "docs" / "writing-verifiers.md").read_text()


def block(page: str, language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    return str(found)


@pytest.mark.component
@pytest.mark.parametrize(
    ("cancelled", "said", "reward", "reason"),
    [
        ([], "Done. 35.", 0.0, "order A7 is pending"),
        (["A7"], "Done.", 0.5, "the agent never named the amount"),
        (["A7"], "You get 35 back.", 1.0, "cancelled, and the amount was named"),
        (["A7", "B8"], "You get 35 back.", 0.0, "something else changed: /orders/B8/"),
    ],
)
async def test_the_example(
    page: str, cancelled: list[str], said: str, reward: float, reason: str
) -> None:
    row = json.loads(block(page, "json")) | {"verification_function": block(page, "python")}
    world: Any = SHOP.open(DATABASE)
    world.call("find_user", {"email": "Kim5@shop"})
    for order in cancelled:
        world.call("cancel_order", {"order": order})
    box = FunctionSandbox(processes=1)
    verdict = await Verifier(box).verify(
        SHOP, rl.task(row), world, [{"role": "assistant", "content": said}]
    )
    await box.close()
    assert verdict.reward == reward
    assert verdict.reasons["FUNCTION"].startswith(reason)


def test_the_settings_of_a_job(page: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    functions, judge = (Settings.model_validate(yaml.safe_load(b)["verifier"]) for b in blocks)
    assert functions.functions.cpu_seconds == 10
    assert judge.judge is not None
    assert judge.judge.api_key_secret == "judge-key"


def test_the_modules_it_names(page: str) -> None:
    (sentence,) = re.findall(r"It may import (.*?) and a few more", page, re.DOTALL)
    named = re.findall(r"`(\w+)`", sentence)
    assert len(named) > 15
    assert set(named) <= set(MODULES)


def test_every_part_of_a_reward_is_in_the_table(page: str) -> None:
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE)) == set(rl.BASES)
