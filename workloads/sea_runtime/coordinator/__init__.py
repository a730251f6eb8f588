"""One pod per job: everything that trainer and rollouts must agree on.

`app.py` wires the components, `routes` serves them over HTTP. What must survive is in `ledger`
(SQLite); what heartbeats bring again within a second is in `membership`, in memory only.
"""
