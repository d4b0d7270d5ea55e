"""Processor time per megabyte of a large result, in transaction mode."""

import subprocess
import sys
from pathlib import Path

from .common import Bench, processor_seconds, progress, ratio, rotated, shown, table

TITLE = "Large results"
DRAIN = Path(__file__).resolve().parents[1] / "tools/drain.py"
# About 300 MB each: rows of 4 kB, and rows of a single number.
WIDE = "select i, repeat('x', 4000) from generate_series(1, 75000) i"
NARROW = "select i from generate_series(1000000, {last}) i"
STATEMENTS = {
    "SELECT, wide rows": WIDE,
    "SELECT, narrow rows": NARROW.format(last=1_000_000 + 16_600_000),
    "COPY, wide rows": f"copy ({WIDE}) to stdout",
    "COPY, narrow rows": f"copy ({NARROW.format(last=1_000_000 + 22_600_000)}) to stdout",
}
AMONG = ("relay", "pgbouncer", "gatekeeper")


def measure(bench: Bench) -> str:
    rows = []
    server, account = bench.pool_server()
    rounds = max(1, bench.settings.rounds // 2)
    for tls in (False, True):
        pools = bench.pools(server, account, client_tls=tls, asks_password=False, among=AMONG)
        for pool in pools.values():
            pool.start()
        for label, statement in STATEMENTS.items():
            costs = {name: [] for name in pools}
            for turn in range(rounds):
                for name in rotated(pools, turn):
                    costs[name].append(_per_megabyte(pools[name], tls, statement))
            ours = costs.get("gatekeeper", [])
            rows.append([
                f"{'TLS' if tls else 'plain'}, {label}", *(shown(costs.get(name), ".0f") for name in AMONG),
                ratio(ours, costs.get("relay", [])), ratio(ours, costs.get("pgbouncer", [])),
            ])
            progress(rows[-1])
        for pool in pools.values():
            pool.stop()
    server.stop()
    head = ["300 MB", "relay µs/MB", "PgBouncer µs/MB", "Gatekeeper µs/MB", "÷ relay", "÷ PgBouncer"]
    return (
        f"{table(head, rows)}\n\n"
        "Processor time of the pool's process divided by the megabytes (10⁶ bytes of protocol) that a client received and "
        f"discarded; {rounds} rounds in a rotating order. Wide rows are 4 kB, narrow rows an integer in text form. "
        "TLS is towards the clients only. Target: 1.15 times the relay.\n"
    )


def _per_megabyte(pool, tls: bool, statement: str) -> float:
    words = [sys.executable, DRAIN, pool.port, "tls" if tls else "plain"]

    def drained(text: str) -> int:
        done = subprocess.run([str(word) for word in [*words, text]], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{text}:\n{done.stderr[-2000:]}")
        return int(done.stdout)

    drained("select 1")
    before = processor_seconds(pool.process.pid)
    byte_count = drained(statement)
    return (processor_seconds(pool.process.pid) - before) / (byte_count / 1e6) * 1e6
