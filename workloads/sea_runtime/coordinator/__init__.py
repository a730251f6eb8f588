"""The one pod that knows: ledger, staleness gate, leases, weight registry, stages of one job.

Everything that must survive lives in `ledger` (SQLite); what a heartbeat brings anew within
seconds lives in memory. Handlers run on one event loop and change the ledger in transactions, so
no two of them ever interleave inside a change.
"""
