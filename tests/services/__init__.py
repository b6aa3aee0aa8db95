"""Real servers for tests, each on free loopback ports with its data in a temporary folder.

`installation` says where the programs are and installs what lacks, `servers` and `engine` run them,
and `tests/conftest.py` makes fixtures of them.
"""
