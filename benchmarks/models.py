"""`make bench-models`: random models of every family in transformers, the trainer and vLLM.

    make bench-models                 24 models, seed 1
    make bench-models COUNT=9 SEED=7

Each is made and saved by transformers (some are then quantized to FP8 in blocks), loaded and
trained one step by the trainer, exported, loaded by transformers and served by vLLM:
`tests/runtime/trainer/model_probe.py` and `engine_probe.py`, of which the tests run a part with two
in vLLM. All have sizes for which vLLM's kernels for CPUs exist. A row per model is its largest
difference of a token's log-probability in FP32; the last line is one JSON object. Ends with 1 if
one is above 1e-5.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests"
PROBES, SUPPORT = TESTS / "runtime" / "trainer", TESTS / "support"
TOLERANCE = 1e-5
TIMEOUT_SECONDS = 1800.0


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="models-") as folder:
        models = _probe("model_probe.py", folder, str(given.count), str(given.seed), "all")
        asked = json.dumps([[one["folder"], one["tokens"]] for one in models])
        served = _probe("engine_probe.py", given=asked)
    for number, (one, found) in enumerate(zip(models, served, strict=True)):
        one["engine"] = max(abs(a - b) for a, b in zip(one["logprobs"], found, strict=True))
        rows = "  ".join(f"{name} {one[name]:.1e}" for name in ("loaded", "exported", "engine"))
        print(f"{number:>3} {one['family']:<10}{rows}  {_features(one)}")
    largest = {name: max(one[name] for one in models) for name in ("loaded", "exported", "engine")}
    print(json.dumps({"models": len(models), "tolerance": TOLERANCE, **largest}))
    sys.exit(any(value > TOLERANCE for value in largest.values()))


def _features(one: dict[str, Any]) -> str:
    heads = f"{one['num_attention_heads']}/{one['num_key_value_heads']} heads"
    experts = f"{one['num_experts']} experts" if "num_experts" in one else ""
    kinds = ("tied" if one["tie_word_embeddings"] else "", "FP8" if one["fp8"] else "")
    window = "window" if one.get("use_sliding_window") else ""
    rope = one["rope_parameters"]["rope_type"]
    return ", ".join(filter(None, (heads, rope, experts, *kinds, window)))


def _probe(name: str, *arguments: str, given: str = "") -> Any:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(PROBES / name), *arguments],
        env=os.environ
        | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SUPPORT)},
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    if done.returncode:
        raise SystemExit(f"{name} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
