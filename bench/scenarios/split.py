"""What a listener that splits costs beside one that does not, and what a read right behind a write costs."""

from lab.middle import Split, Transaction
from lab.readers import Readers
from lab.server import Server

from .common import MODES, Bench, pgbench, pgbench_words, progress, ratio, rotated, shown, table, transaction_cost
from .pooled_calls import count, works

TITLE = "Splitting"
CLIENTS = 50
PLAIN, SPLIT = "transaction", "split"
# In transactions of their own: the read has to show the write.
WRITE_AND_READ = (
    "\\set aid random(1, 100000 * :scale)\n"
    "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :aid;\n"
    # Until the writer was asked where it stands, nobody can tell what a read has to show.
    "\\sleep 20 ms\n"
    "SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n"
)
FEW, MANY = 20, 420
SENT = ("sendto", "write", "writev", "sendmsg")
READ = ("recvfrom", "read", "readv", "recvmsg")


def measure(bench: Bench) -> str:
    server = Server(bench.workspace, settings={"max_connections": "300", **Split.wants})
    server.start()
    pgbench(server.port, "-i", "-s", "5", "-q")
    options = {"profile": bench.settings.profile, "workers": 1}
    readers = Readers(bench.workspace, server)
    middles = {
        PLAIN: Transaction(bench.workspace, server.port, **options),
        SPLIT: Split(bench.workspace, server.port, readers=readers, **options),
    }
    for middle in middles.values():
        middle.start()
    rounds = [_round(bench, middles, turn) for turn in range(bench.settings.rounds)]
    cost = []
    for mode in MODES:
        plain, split = ([found[mode, name][0] for found in rounds] for name in (PLAIN, SPLIT))
        cost.append([mode, shown(plain, ".1f"), shown(split, ".1f"), ratio(split, plain)])
        progress(cost[-1])
    calls = _behind_writes(bench, middles)
    for middle in middles.values():
        middle.stop()
    server.stop()
    return (
        f"{table([f'`-S`, {CLIENTS} clients', 'plain µs', 'split µs', 'split ÷ plain'], cost)}\n\n"
        "Processor time of the process for a transaction, as in `pooled`; one worker each, no TLS, both listeners in "
        f"transaction mode over the same servers, in turns of {bench.settings.seconds} s, {bench.settings.rounds} rounds. "
        "Target: 1.1.\n\n" + calls
    )


def _round(bench: Bench, middles, turn: int) -> dict:
    found = {}
    for mode in MODES:
        for name in rotated(middles, turn):
            options = ["-n", "-S", "-M", mode, "-c", CLIENTS, "-j", 2]
            found[mode, name] = transaction_cost(middles[name], bench.settings.seconds, *options)
    return found


def _behind_writes(bench: Bench, middles) -> str:
    """How often each listener sends and reads for a write and the read behind it, by the number of statements."""
    if not works(bench):
        return "System calls were not counted: perf is not installed, or may not count them here.\n"
    script = bench.workspace.path / "write_and_read.sql"
    script.write_text(WRITE_AND_READ)
    rows = []
    for name, middle in middles.items():
        before = middle.decisions()
        few, many = (_counted(bench, middle, script, transactions) for transactions in (FEW, MANY))
        statements = (MANY - FEW) * 2
        per = {kind: sum(many.get(call, 0) - few.get(call, 0) for call in calls) / statements
               for kind, calls in (("sent", SENT), ("read", READ))}
        share = "–"
        if before is not None:
            after = middle.decisions()
            answered = after.answered.total() - before.answered.total()
            share = f"{100 * (after.by_readers - before.by_readers) / answered:.0f} %"
        rows.append([name, f"{per['sent']:.2f}", f"{per['read']:.2f}", share])
        progress(rows[-1])
    return (
        f"{table(['a write, then a read of it', 'sends a statement', 'reads a statement', 'by read pools'], rows)}\n\n"
        "One client, simple protocol, the whole process counted by `perf stat` as in `pooled-calls`, over "
        f"{MANY - FEW} transactions of each kind; 20 ms lie between a write and its read. Two sends a statement, one to the "
        "server and one to the client, are what a statement costs without a question about freshness; what a read pool's node "
        "is asked travels in the write of the read, and its answer in front of the read's. What is more is done beside the "
        "session: once for a write, and 200 times in a second at most, the writer is asked where it stands, and threads wake "
        "each other for that.\n"
    )


def _counted(bench: Bench, middle, script, transactions: int) -> dict:
    words, environment = pgbench_words(middle.port, "-n", "-f", script, "-c", 1, "-t", transactions)
    return count(bench, ["-p", middle.process.pid], words, environment)
