"""Cost of a listener with `route = "split"` compared with a plain listener, and cost of a read after a write."""

from lab.proxy import Split, Transaction
from lab.readers import Readers
from lab.server import Server

from .common import MODES, Bench, pgbench, pgbench_words, progress, ratio, rotated, shown, table, transaction_cost
from .pooled_calls import count, works

TITLE = "Splitting"
CLIENTS = 50
PLAIN, SPLIT = "transaction", "split"
# Two separate transactions: the read must see the write.
WRITE_AND_READ = (
    "\\set aid random(1, 100000 * :scale)\n"
    "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;\n"
    # Time for the next WAL sample of the writer, without which the read would go to the primary.
    "\\sleep 20 ms\n"
    "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n"
)
FEW, MANY = 20, 420
SENT = ("sendto", "write", "writev", "sendmsg")
READ = ("recvfrom", "read", "readv", "recvmsg")


def measure(bench: Bench) -> str:
    server = Server(bench.workspace, settings={"max_connections": "300", **Split.server_settings})
    server.start()
    pgbench(server.port, "-i", "-s", "5", "-q")
    options = {"profile": bench.settings.profile, "workers": 1}
    readers = Readers(bench.workspace, server)
    proxies = {
        PLAIN: Transaction(bench.workspace, server.port, **options),
        SPLIT: Split(bench.workspace, server.port, readers=readers, **options),
    }
    for proxy in proxies.values():
        proxy.start()
    rounds = [_round(bench, proxies, turn) for turn in range(bench.settings.rounds)]
    cost = []
    for mode in MODES:
        plain, split = ([found[mode, name][0] for found in rounds] for name in (PLAIN, SPLIT))
        cost.append([mode, shown(plain, ".1f"), shown(split, ".1f"), ratio(split, plain)])
        progress(cost[-1])
    calls = _behind_writes(bench, proxies)
    for proxy in proxies.values():
        proxy.stop()
    server.stop()
    return (
        f"{table([f'`-S`, {CLIENTS} clients', 'plain µs', 'split µs', 'split ÷ plain'], cost)}\n\n"
        "Processor time of the process per transaction, as in `pooled`: one worker each, no TLS, both listeners in "
        f"transaction mode over the same servers, in turns of {bench.settings.seconds} s, {bench.settings.rounds} rounds. "
        "Target: 1.1.\n\n" + calls
    )


def _round(bench: Bench, proxies, turn: int) -> dict:
    found = {}
    for mode in MODES:
        for name in rotated(proxies, turn):
            options = ["-n", "-S", "-M", mode, "-c", CLIENTS, "-j", 2]
            found[mode, name] = transaction_cost(proxies[name], bench.settings.seconds, *options)
    return found


def _behind_writes(bench: Bench, proxies) -> str:
    """Sends and receives per statement of each listener, for a write followed by a read."""
    if not works(bench):
        return "System calls were not counted: perf is not installed, or has no permission to count system calls.\n"
    script = bench.workspace.path / "write_and_read.sql"
    script.write_text(WRITE_AND_READ)
    rows = []
    for name, proxy in proxies.items():
        before = proxy.decisions()
        few, many = (_counted(bench, proxy, script, transactions) for transactions in (FEW, MANY))
        statements = (MANY - FEW) * 2
        per = {kind: sum(many.get(call, 0) - few.get(call, 0) for call in calls) / statements
               for kind, calls in (("sent", SENT), ("read", READ))}
        share = "–"
        if before is not None:
            after = proxy.decisions()
            answered = after.answered.total() - before.answered.total()
            share = f"{100 * (after.by_readers - before.by_readers) / answered:.0f} %"
        rows.append([name, f"{per['sent']:.2f}", f"{per['read']:.2f}", share])
        progress(rows[-1])
    return (
        f"{table(['a write, then a read', 'sends per statement', 'receives per statement', 'by read pools'], rows)}\n\n"
        "One client, simple protocol; `perf stat` counts the whole process as in `pooled-calls`, over "
        f"{MANY - FEW} transactions of each kind, with 20 ms between write and read. A statement without a freshness check "
        "costs two sends: to the server and to the client. A freshness check of a read pool's node is sent with the read, and "
        "the response precedes the read's. Further calls belong to WAL samples: Gatekeeper queries the writer's WAL position "
        "once per write, at most 200 times per second, and threads wake each other for the result.\n"
    )


def _counted(bench: Bench, proxy, script, transactions: int) -> dict:
    words, environment = pgbench_words(proxy.port, "-n", "-f", script, "-c", 1, "-t", transactions)
    return count(bench, ["-p", proxy.process.pid], words, environment)
