"""The images hold what the operator starts in them. They are read, not built: no engine is here."""

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from sea_operator.resources.build import objects
from sea_operator.resources.role_settings import full_size
from sea_operator.settings import Images, images

ROLES = ("operator", "coordinator", "trainer", "rollout")
TOOLS = {
    "operator": set(),
    # Functions that a model or a row brings run under bubblewrap.
    "coordinator": {"bubblewrap"},
    # Triton raises "Failed to find C compiler" at the first kernel without one; NCCL loads the
    # other two by name, and is slow without them.
    "trainer": {"g++", "ibverbs-providers", "libibverbs1"},
    "rollout": {"bubblewrap", "g++"},
}


@pytest.fixture(params=ROLES)
def role(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def lines(root: Path, role: str) -> list[str]:
    """Of the stages that make up the role's image: the shared ones and its own."""
    text = (root / "images" / "Dockerfile").read_text().replace("\\\n", " ")
    stages = {stage.split()[2]: stage.splitlines() for stage in text.split("\nFROM ")[1:]}
    assert set(stages) == {"base", "source", *ROLES}
    return [line for name in ("base", "source", role) for line in stages[name]]


def of(lines: Any, word: Any) -> Any:
    return [line.removeprefix(word).split() for line in lines if line.startswith(f"{word} ")]


def test_the_build_context_has_what_is_copied_and_no_environment_of_a_developer(
    root: Path, lines: Any
) -> None:
    rules = (root / ".dockerignore").read_text().splitlines()
    rules = [rule for rule in rules if rule and not rule.startswith("#")]
    assert rules[0] == "*"
    for copied in of(lines, "COPY"):
        for source in copied[:-1] if not copied[0].startswith("--from") else []:
            assert (root / source).exists()
            assert f"!{source.split('/')[0]}" in rules


def test_no_image_runs_as_root(lines: Any) -> None:
    """By number: the kubelet can't tell whether a name is root's (`runAsNonRoot`)."""
    assert of(lines, "USER") == [["65532"]]


def test_its_extras_exist(root: Path, lines: Any) -> None:
    (run,) = [line for line in lines if "uv pip install" in line]
    found = re.search(r'"\.\[([a-z,]+)\]"', run)
    assert found is not None
    extras = found[1].split(",")
    known = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert set(extras) <= set(known["optional-dependencies"])
    for file in re.findall(r"requirements/[a-z.]+", run):
        assert (root / file).exists()


def test_tools_that_programs_call(role: Any, lines: Any) -> None:
    installed = {word for line in lines if "apt-get install" in line for word in line.split()}
    assert installed >= TOOLS[role]


def test_every_program_that_a_pod_starts_is_a_module(make: Any) -> None:
    job = make.job()
    made = objects(job, job.spec, full_size(job.spec), Images(), "digest", {})
    templates = [child["spec"]["template"] for child in made if child["kind"] == "StatefulSet"]
    for template in templates:
        for container in template["spec"]["containers"]:
            python, option, module = container["command"]
            assert (python, option) == ("python", "-m")
            assert importlib.util.find_spec(module) is not None


def test_images_that_nobody_names_are_those_of_the_manifests(root: Path) -> None:
    documents = yaml.safe_load_all((root / "deploy" / "operator.yaml").read_text())
    (deployment,) = [one for one in documents if one["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    told = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    assert images({}) == images(told)
