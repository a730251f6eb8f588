"""The node agent: a small, honest kubelet that runs pods as processes under bubblewrap.

The way of a pod through these files: `reflector` sees it, `agent` gives it a `podworker`,
`admission` refuses what isn't implemented, `volumes` and `environment` make what containers need,
`sandbox` writes the bubblewrap command, `container` runs it (probes, restarts, grace periods),
`status` computes what the API server is told, `names` keeps every pod's /etc/hosts up to date and
`server` answers `kubectl logs`.
"""
