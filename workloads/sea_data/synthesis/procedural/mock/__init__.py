"""Mock's worker: a member of the team calls about the task list and its own inbox."""
