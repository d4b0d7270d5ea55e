"""A throwaway PostgreSQL server and the process in front: for the conformance suites and the benches.

Everything lives in one folder in memory and on 127.0.0.1, belongs to one process and ends with it.
"""
