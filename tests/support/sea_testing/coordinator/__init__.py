"""Jobs around a real coordinator, for the tests of `tests/runtime/coordinator`.

Everything but the coordinator is simulated, over real HTTP with the product's own clients:
`job.py` is the job (`files.py` its data, `process.py` the coordinator, `calls.py` what is asked
of it, `program.py` its stages), `operator.py` walks its stages, `pod.py`, `engines.py` and
`trainer.py` are its pods, `crew.py` runs them all. `inprocess.py` is a coordinator without
process and HTTP.
"""
