"""The node agent: a small kubelet that runs pods as processes under bubblewrap.

It implements what our pods use and refuses, in the pod's status, what it doesn't. A pod's path
through these files: `agent` sees it through a reflector (`api`) and starts a `pod_worker`;
`admission` refuses unsupported fields; `volumes` and `environment` prepare what containers need
(`launch`), `sandbox` builds the bubblewrap command, `container` runs it (`probes`, restarts, grace
periods), `status` computes the pod's status and `status_publisher` writes it; `hosts_files` keeps
each pod's /etc/hosts current and `server` answers `kubectl logs`.
"""
