"""A Kubernetes cluster on one machine: control plane, nodes and S3, and the demo on top of it."""
