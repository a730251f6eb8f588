"""A folder that `sea data world` writes serves a job's episodes unchanged."""

from typing import Any

import pytest

from sea_data.object_store import ObjectNotFoundError
from sea_env.domains import registry
from sea_env.domains.database import DatabaseError
from sea_env.domains.database_generator import generate_database
from sea_runtime.rollout.databases import Databases

FOLDER = "s3://bucket/worlds/one"


class Store:
    """Objects in memory, by address."""

    def __init__(self, objects: dict[str, str]) -> None:
        self._objects = objects

    def get(self, url: str) -> bytes:
        if url not in self._objects:
            raise ObjectNotFoundError(f"There is no {url}.")
        return self._objects[url].encode()


def databases(files: dict[str, str]) -> Databases:
    store: Any = Store({f"{FOLDER}/{name}": text for name, text in files.items()})
    return Databases(store)


@pytest.mark.parametrize("name", ["airline", "retail"])
async def test_a_generated_database_loads_with_its_policy(name: str) -> None:
    domain = registry.get(name)
    made = generate_database(registry.get(name), "small", 1)
    data = await databases(made.files()).load(domain, f"{FOLDER}/db.json")
    assert list(data.database.agent["users"]) == list(made.agent["users"])
    assert made.policy.strip() in data.system_prompt


async def test_the_domains_own_file_name_comes_first() -> None:
    files = generate_database(registry.get("retail"), "small", 1).files()
    loaded = databases({**files, "retail_policy.md": "Be brief."})
    data = await loaded.load(registry.get("retail"), f"{FOLDER}/db.json")
    assert "<policy>\nBe brief.\n</policy>" in data.system_prompt


async def test_a_database_without_a_policy_is_refused() -> None:
    files = generate_database(registry.get("retail"), "small", 1).files()
    del files["policy.md"]
    with pytest.raises(DatabaseError, match=r"retail_policy\.md, .*/policy\.md, .*: upload it"):
        await databases(files).load(registry.get("retail"), f"{FOLDER}/db.json")
