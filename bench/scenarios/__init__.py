"""What is measured. Each module has a `TITLE` and a `measure(bench)` that returns its part of the report."""

from . import allocations, calls, cpu, logins, memory

SCENARIOS = {"cpu": cpu, "memory": memory, "logins": logins, "allocations": allocations, "calls": calls}
