"""The end of a demo names the job's product, and only what is there."""

import pytest

from sea_devcluster.demo.places import report_page, trained_model


def stages(*types: str) -> list[dict[str, str]]:
    return [{"name": f"s{n}", "type": kind} for n, kind in enumerate(types)]


@pytest.mark.parametrize(
    ("types", "model", "page"),
    [
        (("UserSft", "Sft", "Rl", "Evaluation"), "s3://b/j/stages/s2/export", "s3.html"),
        (
            ("Sft", "Evaluation", "Rl", "UserSft", "Evaluation"),
            "s3://b/j/stages/s2/export",
            "s4.html",
        ),
        (("Sft",), "s3://b/j/stages/s0/export", None),
        (("Synthesis", "UserSft"), None, None),
    ],
)
def test_the_last_of_the_agent(types: tuple[str, ...], model: str | None, page: str | None) -> None:
    assert trained_model("s3://b/j/", stages(*types)) == model
    assert report_page(stages(*types)) == (page and f"evaluation/{page}")
