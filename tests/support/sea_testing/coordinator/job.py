"""One job around a real coordinator process: its data, its process, its operator's calls."""

import hashlib
from pathlib import Path
from typing import Any

from sea_api.v1alpha1.job import Spec
from sea_api.wire.coordinator_spec import CoordinatorSpec
from sea_devcluster.s3 import S3Server
from sea_testing.coordinator.calls import Calls
from sea_testing.coordinator.files import JobFiles
from sea_testing.coordinator.process import CoordinatorProcess
from sea_testing.coordinator.program import full_program


class Job(JobFiles, CoordinatorProcess, Calls):
    """Data uploaded, coordinator not started."""

    def __init__(self, s3: S3Server, folder: Path) -> None:
        JobFiles.__init__(self, s3)
        CoordinatorProcess.__init__(self, self.uid, folder)
        Calls.__init__(self, self.url)

    def spec(self, stages: list[dict[str, Any]] | None = None, **changes: Any) -> Spec:
        return Spec.model_validate(
            {
                "model": {"name": "tiny", "source": "builtin:tiny", "contextLength": 8192},
                "storage": {"url": self.root, "endpoint": self.s3.endpoint},
                "data": {
                    "sft": [f"{self.root}/sft.jsonl"],
                    "rl": [f"{self.root}/rl.jsonl"],
                    "databases": f"{self.root}/databases",
                },
                "domains": ["shop"],
                "stages": stages or full_program(self.root),
                "trainer": {"replicas": 2, "gpusPerPod": 0},
                "rollout": {"replicas": 1, "gpusPerPod": 0},
                "userModel": {"engine": "VLLM", "gpusPerPod": 0},
                "checkpoint": {"everySteps": 2},
                **changes,
            }
        )

    def desired(
        self, spec: Spec, stage: int = 0, attempt: int = 1, drain: bool = False
    ) -> CoordinatorSpec:
        digest = hashlib.sha256(f"{spec}{stage}{attempt}{drain}".encode()).hexdigest()[:12]
        return CoordinatorSpec(
            digest=digest,
            job="job",
            uid=self.uid,
            spec_generation=1,
            spec=spec,
            stage_index=stage,
            attempt=attempt,
            drain=drain,
            run_url=self.run_url,
        )
