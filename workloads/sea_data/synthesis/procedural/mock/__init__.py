"""Mock's task generator: a team member calls about the task list and its own inbox."""
