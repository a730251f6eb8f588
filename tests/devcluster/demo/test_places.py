"""The end of a demo names the job's product, and only what is there."""

from pathlib import Path

from sea_devcluster.demo.outcome import Outcome
from sea_devcluster.demo.places import places
from sea_devcluster.demo.target import ObjectServer

SERVER = ObjectServer("http://s3", "http://s3", "a", "b")
OUTCOME = Outcome(1.0, None, {"runUrl": "s3://sea/tiny/tiny-1/"}, [], [])
OUT = Path("out")


def stages(*types: str) -> list[dict[str, str]]:
    return [{"name": f"s{n}", "type": kind} for n, kind in enumerate(types)]


def test_the_model_is_the_last_one_of_the_agent() -> None:
    found = places(OUTCOME, stages("Sft", "Rl", "UserSft", "Evaluation"), SERVER, OUT, OUT / "data")
    assert found["trained model"] == "s3://sea/tiny/tiny-1/stages/s1/export"
    assert found["report page"] == "out/evaluation.html"
    assert found["run's objects"] == "s3://sea/tiny/tiny-1 at http://s3"


def test_what_no_stage_makes_is_not_named() -> None:
    found = places(OUTCOME, stages("Synthesis"), SERVER, OUT, OUT / "data")
    assert not {"trained model", "report page"} & set(found)
    assert next(iter(found.values())) == "out/learning-curve.png"
