"""Program: vLLM's log-probabilities for several folders, one engine after another in one process.

Reads `[[folder, token ids], ...]` as JSON from standard input and prints log-probabilities
for each: every token given all before it. One process, since imports take most of the time.
"""

import gc
import json
import os
import sys
from pathlib import Path

from sea_cli.model_scores import by_engine


def scores(folder: str, tokens: list[int]) -> list[float]:
    from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

    (found,) = by_engine(Path(folder), "float32", [tokens])
    gc.collect()  # the engine's memory and its process groups, before the next one asks for them
    cleanup_dist_env_and_memory()
    return found


def main() -> None:
    found = [scores(folder, tokens) for folder, tokens in json.load(sys.stdin)]
    sys.stdout.write(f"\n{json.dumps(found)}\n")
    sys.stdout.flush()
    os._exit(0)  # the engine's threads may keep the interpreter from ending


if __name__ == "__main__":
    main()
