"""What runs in a job's pods: coordinator, rollout and trainer, on store, wire and transport."""
