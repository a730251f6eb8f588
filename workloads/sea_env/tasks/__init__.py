"""A verifiable task as values, and the order in which tasks are drawn."""
