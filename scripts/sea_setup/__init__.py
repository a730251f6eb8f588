"""The steps of `make setup`; standard library only, Python 3.9."""
