"""The control plane of sea-operator: keeps every SEATrainingJob's pods, stages and status right.

The way of one event through the files: `handlers` (kopf) -> `queue` -> `workers` -> `reconcile`,
which runs one idempotent pass: `observe` -> `decide` (pure, `policies/`, `children/`) -> `apply` ->
`report`. `leader` holds the Lease without which no pass starts and no write leaves the process.
"""
