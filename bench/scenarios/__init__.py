"""The scenarios. Each module has a `TITLE` and a function `measure(bench)` that returns a part of the report."""

from . import allocations, audit, audit_complete, before, bulk, calls, cpu, failover, growth, idle_memory, logins, memory, pooled
from . import pooled_allocations, pooled_calls, split, storm, stuck_readers, writer_return

SESSION = {"cpu": cpu, "memory": memory, "logins": logins, "allocations": allocations, "calls": calls}
TRANSACTION = {
    "pooled": pooled, "pooled-calls": pooled_calls, "pooled-allocations": pooled_allocations,
    "idle-memory": idle_memory, "storm": storm, "bulk": bulk, "growth": growth, "audit": audit,
    "audit-complete": audit_complete, "split": split, "before": before, "failover": failover, "return": writer_return,
    "stuck-readers": stuck_readers,
}
MODES = {"session": list(SESSION), "transaction": list(TRANSACTION)}
SCENARIOS = SESSION | TRANSACTION
