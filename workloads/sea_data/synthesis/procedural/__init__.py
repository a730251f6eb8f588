"""The backend without a model: a task generator per domain writes tasks by running real tools.

`task_generators` finds a domain's generator. The generators of airline, mock, retail and telecom
have a folder each: `customer_call` is one call's state, `*_goals` and `faults` are what a customer
may want, `task_generator` combines them.
"""
