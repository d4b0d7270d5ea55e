"""A throwaway PostgreSQL server and the proxy in front of the server: for the conformance suites and the benches.

All files are in one folder in memory, and all sockets on 127.0.0.1. Servers and files end with the process that made
them.
"""
