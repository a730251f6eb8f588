"""The objects that a job should have: pure functions from the spec to Kubernetes objects."""
