"""The end of a demo names the job's product, and only what is there."""

from sea_devcluster.demo.places import report_page, trained_model

RUN = "s3://sea/tiny/tiny-1/"


def stages(*types: str) -> list[dict[str, str]]:
    return [{"name": f"s{n}", "type": kind} for n, kind in enumerate(types)]


def test_the_model_is_the_last_one_of_the_agent() -> None:
    found = stages("SFT", "RL", "UserSFT", "Evaluation")
    assert trained_model(RUN, found) == {"trained model": "s3://sea/tiny/tiny-1/stages/s1/export"}
    assert report_page(found) == "evaluation/s3.html"


def test_what_no_stage_makes_is_not_named() -> None:
    assert trained_model(RUN, stages("Synthesis")) == {}
    assert report_page(stages("Synthesis")) is None
