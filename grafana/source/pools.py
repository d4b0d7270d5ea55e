"""Dashboard `pools`: use and queues of each listener's pools, and the reasons why backends stay leased."""

from .panel import heatmap, limits, lines, query, stat
from .words import BAD, DOUBTFUL, GOOD, UNKNOWN, quantile

NEXT = "routing"
PLACE = "listener, endpoint"
NAMED = "{{listener}} → {{endpoint}}"
USE = ('sum by (listener, endpoint) (gatekeeper_pool_backends{@path, state!="idle"}) '
       "/ (sum by (listener, endpoint) (gatekeeper_pool_backends_limit{@path}) > 0)")
STATES = {"leased": "#3274D9", "idle": GOOD, "dialing": DOUBTFUL, "resetting": "#A352CC", "settling": UNKNOWN}


def verdict():
    return [
        (6, 5, stat(
            "Clients waiting", "Clients waiting for a backend connection.",
            "for lasting waits, find the full pool below, and check whether work or pinned sessions fill the pool.",
            "none", "sum(gatekeeper_pool_waiting_clients{@path})", limits(1, 10))),
        (6, 5, stat(
            "Pool wait, p99", "99 of 100 sessions got a backend within this time; an idle backend counts as 0.",
            "above 100 ms users notice: raise `pool.size`, or shorten transactions and pins.",
            "s", quantile(0.99, "gatekeeper_pool_wait_duration_seconds", "@path"), limits(0.1, 1))),
        (6, 5, stat(
            "Wait timeouts", "Clients that timed out waiting for a backend (53300) in the displayed time range.",
            "each was an error for a client: the pool is too small, or the endpoint too slow.",
            "none", "sum(increase(gatekeeper_pool_wait_timeouts_total{@path}[$__range]))", limits(bad=1), decimals=0)),
        (6, 5, stat(
            "Fullest pool", "Share of backends in use, of the listener and endpoint with the largest share.",
            "near 100 %, the next burst of clients waits.",
            "percentunit", f"max({USE})", limits(0.8, 0.95))),
    ]


def rows():
    return [
        ("Do clients wait?", verdict()),
        ("Where?", [
            (12, 8, lines(
                "Use of pools", "Share of a pool's backends that are in use, against its size.",
                "at 100 % for long: raise `pool.size` if the server has free connections, else find long transactions and pins.",
                "percentunit", query(USE, NAMED), steps=limits(0.8, 0.95), top=1)),
            (12, 8, lines(
                "Waiting", "Clients waiting for a backend.",
                "a queue that only grows belongs to a pool whose backends are not returned.",
                "none", query(f"sum by ({PLACE}) (gatekeeper_pool_waiting_clients{{@path}})", NAMED), stacked=True)),
            (6, 8, lines(
                "Pool wait, p99", "Time within which 99 of 100 sessions had a backend.",
                "compare with the time of the statements.",
                "s", query(quantile(0.99, "gatekeeper_pool_wait_duration_seconds", "@path", PLACE), NAMED), steps=limits(0.1, 1))),
            (6, 8, lines(
                "Oldest wait", "Time that the client now waiting longest has waited for a backend.",
                "a line that grows to `query_wait_timeout` again and again: no backend is returned, see the oldest transactions.",
                "s", query(f"max by ({PLACE}) (gatekeeper_pool_oldest_wait_seconds{{@path}})", NAMED), steps=limits(1, 10))),
            (6, 8, heatmap(
                "Spread of waits", "Distribution of waits: dark cells are many sessions.",
                "with all waits in the lowest band, the pool is large enough.",
                "gatekeeper_pool_wait_duration_seconds", "@path")),
            (6, 8, lines(
                "Wait timeouts", "Clients that timed out waiting for a backend.",
                "the application sees SQLSTATE 53300: raise `pool.size` or `query_wait_timeout`.",
                "cps", query(f"sum by ({PLACE}) (rate(gatekeeper_pool_wait_timeouts_total{{@path}}@rate))", NAMED))),
        ]),
        ("What holds the backends?", [
            (8, 8, lines(
                "Backends by state", "Backends of all pools: leased, idle, connecting, being reset or canceled.",
                "many `leased` and few statements: sessions sit in open transactions. Many `dialing`: the server is slow to log in.",
                "none", query("sum by (state) (gatekeeper_pool_backends{@path})", "{{state}}"), stacked=True, colors=STATES)),
            (8, 8, lines(
                "Pins by reason", "Sessions whose state pins their backend.",
                "each reason has a remedy in docs/pooling.md; `GET /v1/sessions` and `SHOW PINS` name the sessions.",
                "cps", query("sum by (reason) (rate(gatekeeper_pins_total{@path}@rate)) > 0", "{{reason}}"), stacked=True)),
            (8, 8, lines(
                "Backends closed, by reason", "Reasons for closing pooled backends.",
                "`broken` is the server or the network; `not_clean` and `discarded` are sessions; other reasons are regular.",
                "cps", query("sum by (reason) (rate(gatekeeper_pool_backends_closed_total{@path}@rate)) > 0", "{{reason}}"),
                stacked=True, colors={"broken": BAD})),
            (8, 8, lines(
                "Oldest transaction", "Age of the oldest open transaction.",
                "long transactions keep a backend, locks, and dead rows: `GET /v1/sessions` names the client.",
                "s", query(f"max by ({PLACE}) (gatekeeper_oldest_transaction_seconds{{@path}})", NAMED), steps=limits(300, 3600))),
            (8, 8, lines(
                "Longest idle in transaction", "Longest time that a client has left an open transaction idle.",
                "the application forgot a COMMIT or waits for something else: set `idle_transaction_timeout`, or end the session.",
                "s", query(f"max by ({PLACE}) (gatekeeper_longest_idle_in_transaction_seconds{{@path}})", NAMED), steps=limits(20, 60))),
            (8, 8, lines(
                "State checks", "Catalog queries after transactions that may have left session state.",
                "each costs the server about a millisecond: look for functions that Gatekeeper cannot prove, or `isolation = \"strict\"`.",
                "cps", query(f"sum by ({PLACE}) (rate(gatekeeper_state_checks_total{{@path}}@rate))", NAMED))),
            (12, 8, lines(
                "Backends and limits", "Backends in the pools of a listener, and their maximum.",
                "a limit far above the server's `max_connections` only moves the queue to the server.",
                "none", query(f"sum by ({PLACE}) (gatekeeper_pool_backends{{@path}})", NAMED),
                query(f"sum by ({PLACE}) (gatekeeper_pool_backends_limit{{@path}}) > 0", NAMED + ": limit"))),
            (12, 8, lines(
                "Use of the endpoint's budget", "Backends of all pools of an endpoint, as a share of their maximum.",
                "at 100 %, pools take connections from each other: see backends closed with the reason `shared`.",
                "percentunit", query("sum by (endpoint, backend_role) (gatekeeper_backends{@endpoint}) "
                                     "/ max by (endpoint, backend_role) (gatekeeper_backends_limit{@endpoint})",
                                     "{{endpoint}} · {{backend_role}}"), steps=limits(0.8, 0.95), top=1)),
        ]),
    ]
