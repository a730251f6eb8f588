"""Every command that reads data or results reads them from a real S3 server as from a disk."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sea_cli import fetching, main
from sea_data.errors import DataFileError
from sea_data.evaluation import scores
from sea_data.evaluation.records import EpisodeRecord
from sea_data.formats import jsonl
from sea_env.domains import registry
from sea_env.domains.database_generator import generate_database
from sea_runtime.store.folders import upload_folder
from sea_runtime.store.s3 import ObjectStore
from sea_testing.models import put_tiny_model

pytestmark = [pytest.mark.component, pytest.mark.usefixtures("store")]
RUN = "s3://data/jobs/tiny-1a2b"
ORDER = "s3://data/shop"


@pytest.fixture
def shop(store: ObjectStore, tmp_path: Path) -> Path:
    """A shop data set, uploaded; its dialogues packed."""
    out = tmp_path / "shop"
    sizes = ["--dialogues", "4", "--train-tasks", "2", "--test-tasks", "3"]
    assert main(["data", "shop", "--out", str(out), *sizes]) == 0
    packed = gzip.compress((out / "sft.jsonl").read_bytes())
    (out / "sft.jsonl.gz").write_bytes(packed)
    upload_folder(store, out, ORDER)
    return out


@pytest.fixture
def telecom(store: ObjectStore, tmp_path: Path) -> Path:
    """A folder in tau2-bench's layout, both databases, uploaded."""
    files = generate_database(registry.get("telecom"), "small", 3).files()
    toggled = {"name": "toggle_airplane_mode", "arguments": {}, "requestor": "user"}
    files["tasks.json"] = json.dumps([{"id": "t", "evaluation_criteria": {"actions": [toggled]}}])
    folder = tmp_path / "telecom"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    upload_folder(store, folder, "s3://data/tau2/telecom")
    return folder


@pytest.fixture
def episode(shop: Path) -> EpisodeRecord:
    """One whose calls answer as they did, on a database in S3."""
    path = shop / "databases" / "test_000.json"
    world = registry.get("shop").open(registry.get("shop").parse(path.read_bytes(), path.name))
    email = next(iter(json.loads(path.read_text())["users"]))
    found = world.call("find_user", {"email": email})
    call = {"role": "assistant", "content": "", "tool_calls": [
        {"name": "find_user", "arguments": {"email": email}}]}  # fmt: skip
    result = {"role": "tool", "content": found.content}
    database = f"{ORDER}/databases/{path.name}"
    return EpisodeRecord(
        "shop", "shop_test_0", "f:1", 0, 1, 1.0, transcript=(call, result), database=database
    )


Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: capsys.readouterr().out


def same(said: Said, local: list[str], remote: list[str], here: str, there: str) -> str:
    """Both ways succeed and say the same but for the address."""
    said()
    assert main(local) == 0
    first = said()
    assert main(remote) == 0
    second = said()
    assert first.replace(here, there) == second
    return second


@pytest.mark.parametrize("name", ["sft.jsonl.gz", "rl_test.jsonl"])
@pytest.mark.parametrize("command", ["check", "stats"])
def test_data_files(shop: Path, said: Said, command: str, name: str) -> None:
    here, there = str(shop / name), f"{ORDER}/{name}"
    out = same(said, ["data", command, here], ["data", command, there], here, there)
    assert there in out


def test_databases_of_a_check(shop: Path, said: Said) -> None:
    here, there = str(shop / "rl_test.jsonl"), f"{ORDER}/rl_test.jsonl"
    options = ["data", "check", here, "--databases", str(shop)]
    assert "3 rows" in same(
        said, options, ["data", "check", there, "--databases", ORDER], here, there
    )
    assert main(["data", "check", there, "--databases", f"{ORDER}/databases"]) == 0


def test_replay_of_expected_actions(telecom: Path, said: Said) -> None:
    command = ["data", "replay", "--domain", "telecom", "--json", "--data"]
    out = same(said, [*command, str(telecom)], [*command, "s3://data/tau2/telecom/"], "", "")
    (found,) = json.loads(out)
    assert found["user_db_changes"], "the user's database came along"


def test_a_models_folder(said: Said, store: ObjectStore) -> None:
    put_tiny_model(store, "s3://data/model")
    assert main(["model", "check", "s3://data/model"]) == 0
    assert "every tensor is used" in said()


def test_a_report_of_a_jobs_folder(
    store: ObjectStore, episode: EpisodeRecord, tmp_path: Path, said: Said
) -> None:
    report = scores.report("eval-rl", [episode], settings={"model": "M"}, policyVersion=7)
    before = scores.report("eval-sft", [episode], settings={"model": "M"}, policyVersion=3)
    for stage, found in (("eval-rl", report), ("eval-sft", before)):
        store.put(f"{RUN}/evaluation/{stage}.json", json.dumps(found).encode())
        store.put(f"{RUN}/evaluation/{stage}.episodes.jsonl", episode.to_line().encode())
    metric = {"stage": "rl", "step": 1, "reward": 0.5, "time": 1.0}
    store.put(f"{RUN}/reports/metrics.jsonl", jsonl.dumps(metric).encode())
    store.put(f"{RUN}/stages/rl/checkpoints/1/model.bin", b"never fetched" * 1000)
    folder, file = tmp_path / "a.html", tmp_path / "b.html"
    assert main(["report", RUN, "--stage", "eval-rl", "--out", str(folder)]) == 0
    assert main(["report", f"{RUN}/evaluation/eval-rl.episodes.jsonl", "--out", str(file)]) == 0
    for page in (folder, file):
        assert "eval-rl" in page.read_text()
        assert "eval-sft" in page.read_text(), "what the run had before is in its curve"
    assert main(["report", f"{RUN}/evaluation", "--stage", "eval-sft", "--out", str(file)]) == 0
    assert said().count("1 episodes") == 3


def test_a_replay_of_saved_episodes(
    store: ObjectStore, shop: Path, episode: EpisodeRecord, said: Said
) -> None:
    address = "s3://data/out/episodes.jsonl.gz"
    store.put(address, gzip.compress(episode.to_line().encode()))
    for options in (
        [],
        ["--data", ORDER],
        ["--database", episode.database or ""],
    ):
        assert main(["replay", address, "--all", *options]) == 0
        assert "1 episodes, 1 calls, 0 answer differently" in said()


def test_a_tiny_model_of_dialogues_in_s3(shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "tiny"
    assert main(["model", "tiny", "--data", f"{ORDER}/sft.jsonl.gz", "--out", str(out)]) == 0
    assert (out / "tokenizer.json").is_file()


def written(folder: Path) -> dict[str, bytes]:
    """What a command wrote."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_conversion_of_tau2s_files(telecom: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    command = ["data", "tau2", "--domain", "telecom", "--data"]
    assert main([*command, str(telecom), "--out", str(here)]) == 0
    assert main([*command, "s3://data/tau2/telecom", "--out", str(there)]) == 0
    assert written(here) == written(there) != {}


def test_a_synthesis_on_a_world_in_s3(telecom: Path, tmp_path: Path) -> None:
    """Also gone on with: the copy lies elsewhere each time."""
    here, there = tmp_path / "here", tmp_path / "there"
    command = ["synth", "--domain", "telecom", "--plans", "2", "--data"]
    remote = [*command, "s3://data/tau2/telecom", "--out", str(there)]
    assert main([*command, str(telecom), "--count", "4", "--out", str(here)]) == 0
    assert main([*remote, "--count", "4"]) == 0
    assert tasks(here) == tasks(there) != b""
    assert main([*remote, "--count", "4", "--resume"]) == 0
    assert tasks(here) == tasks(there)


def tasks(folder: Path) -> bytes:
    return (folder / "rl.jsonl").read_bytes()


@pytest.mark.parametrize(
    "command",
    [
        ["data", "shop"],
        ["data", "world", "--domain", "mock"],
        ["synth", "--domain", "mock"],
        ["report", "here"],
    ],
)
def test_results_are_written_to_a_disk(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Not into a folder called `s3:`."""
    with pytest.raises(SystemExit) as caught:
        main([*command, "--out", "s3://data/out"])
    assert caught.value.code == 2
    assert "is an address in S3: results are written to a disk" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["report", "s3://data/nowhere", "--out", "x.html"], "s3://data/nowhere: holds no file"),
        (["report", "s3://nowhere/x", "--out", "x.html"], "nowhere"),
        (["replay", "s3://data/nowhere.jsonl"], "does not exist: upload the file"),
        (["data", "replay", "--domain", "mock", "--data", "s3://data/no"], "holds no file"),
        (["data", "check", "s3://data/nowhere.jsonl"], "does not exist: upload the file"),
        (["data", "stats", "s3://data/nowhere.jsonl"], "does not exist: upload the file"),
    ],
)
def test_what_is_not_there_is_a_sentence(
    command: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 1
    found = capsys.readouterr().err
    assert found.startswith("sea: ")
    assert sentence in found


def test_no_key_leads_out_of_the_copies() -> None:
    with pytest.raises(DataFileError, match=r"has '\.\.' in its address"):
        fetching._place(Path("copies"), "s3://b/x/../../../etc/passwd")
