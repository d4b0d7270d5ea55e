"""Checks that the audit log has all of a million statements over rotated files, and measures the verification."""

import json
import re
import subprocess
import time

from targets import AuditedGatekeeper

from .common import Bench, pgbench, processor_seconds, progress, table
from .pooled import CLIENTS

TITLE = "A million statements in the audit log"
MANY, MANY_QUICK = 1_000_000, 100_000
KEYS = {"level": '"statements"', "on_full": '"block"', "hash_chain": "true", "rotate_size": '"64MiB"'}


def measure(bench: Bench) -> str:
    many = MANY_QUICK if bench.settings.quick else MANY
    server, account = bench.pool_server()
    options = {"profile": bench.settings.profile, "account": account, "asks_password": True}
    target = AuditedGatekeeper(bench.workspace, server.port, audit=KEYS, **options)
    target.start()
    before = processor_seconds(target.process.pid)
    load = pgbench(
        target.port, "-n", "-S", "-c", CLIENTS, "-j", 2, "-t", many // CLIENTS,
        user=account.user, password=account.password,
    )
    spent = processor_seconds(target.process.pid) - before
    program = target.program
    target.stop()
    server.stop()
    files = sorted(target.audit_file.parent.glob(f"{target.audit_file.name}*"))
    report, seconds, resident = verified(program, files)
    recorded = sum(executed(file) for file in files)
    byte_count = sum(file.stat().st_size for file in files)
    if recorded < load.transactions or "none is missing in between" not in report:
        raise SystemExit(f"{recorded} of {load.transactions} statements are recorded; verify reports: {report}")
    rows = [
        ["pgbench transactions", f"{load.transactions:,}"],
        ["statements recorded", f"{recorded:,}"],
        ["files", len(files)],
        ["bytes per statement", f"{byte_count / recorded:.0f}"],
        ["transactions per second", f"{load.per_second:,.0f}"],
        ["processor time per transaction, µs", f"{spent / load.transactions * 1e6:.1f}"],
        ["verify: records per second", f"{recorded / seconds:,.0f}"],
        ["verify: resident memory, KiB", resident],
    ]
    progress(rows[1])
    return (
        f"{table(['measure', ''], rows)}\n\n"
        "`pgbench -S` (one statement a transaction), `on_full = \"block\"`, a chain of hashes, rotation at 64 MiB. "
        f"`gatekeeper audit verify` reported: {report}\n"
    )


def verified(program, files) -> tuple[str, float, int]:
    """Report of `audit verify`, duration in seconds, and largest resident memory in KiB."""
    began = time.monotonic()
    command = ["/usr/bin/time", "-f", "%M", program, "audit", "verify", "--strict", *files]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"verify: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout.strip().splitlines()[-1], time.monotonic() - began, int(re.search(r"(\d+)\s*$", done.stderr)[1])


def executed(file) -> int:
    """Number of pgbench's transaction statements in a file, without pgbench's queries at the start."""
    with file.open() as lines:
        return sum(
            "abalance" in record.get("db.query.text", "")
            for record in map(json.loads, lines)
            if record["event.action"] == "statement.executed"
        )
