"""What runs in a job's pods: coordinator, rollout and trainer on a store, a wire and a transport."""
