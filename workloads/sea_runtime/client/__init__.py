"""Clients of the coordinator for the other pods: `sync` for trainers, `aio` for workers."""
