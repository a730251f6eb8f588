"""The coordinator's clients: `sync_client` for trainers, `async_client` for rollout workers."""
