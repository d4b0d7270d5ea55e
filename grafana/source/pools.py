"""Who waits? The pools of each listener: their use, their queues, and what keeps backends from coming back."""

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
            "Clients waiting", "Clients that wait for a backend at this moment.",
            "if they stay, see below which pool is full, and whether it is full of work or of pinned sessions.",
            "none", "sum(gatekeeper_pool_waiting_clients{@path})", limits(1, 10))),
        (6, 5, stat(
            "Longest waits", "99 of 100 sessions got their backend within this time; those that found an idle one count as no time.",
            "above 100 ms people notice: raise `pool.size`, or shorten what holds backends.",
            "s", quantile(0.99, "gatekeeper_pool_wait_duration_seconds", "@path"), limits(0.1, 1))),
        (6, 5, stat(
            "Waited in vain", "Clients that were told to try again (53300) in the time shown.",
            "each was an error for somebody: the pool is too small, or the endpoint too slow.",
            "none", "sum(increase(gatekeeper_pool_wait_timeouts_total{@path}[$__range]))", limits(bad=1), decimals=0)),
        (6, 5, stat(
            "Fullest pool", "Share of its backends that are in use, of the listener and endpoint where it is largest.",
            "near 100 % the next burst waits.",
            "percentunit", f"max({USE})", limits(0.8, 0.95))),
    ]


def rows():
    return [
        ("Does anybody wait?", verdict()),
        ("Where?", [
            (12, 8, lines(
                "Use of pools", "Share of a pool's backends that are in use, against its size.",
                "at 100 % for long: raise `pool.size` if the server has room, else find what holds them.",
                "percentunit", query(USE, NAMED), steps=limits(0.8, 0.95), top=1)),
            (12, 8, lines(
                "Waiting", "Clients that wait for a backend.",
                "a queue that only grows is a pool whose backends do not come back.",
                "none", query(f"sum by ({PLACE}) (gatekeeper_pool_waiting_clients{{@path}})", NAMED), stacked=True)),
            (8, 8, lines(
                "Time waited", "Time within which 99 of 100 sessions had a backend.",
                "compare with the statements' own time: waiting is pure loss.",
                "s", query(quantile(0.99, "gatekeeper_pool_wait_duration_seconds", "@path", PLACE), NAMED), steps=limits(0.1, 1))),
            (8, 8, heatmap(
                "Spread of waits", "How many sessions waited how long: dark is many.",
                "all in the lowest band is a pool with room.",
                "gatekeeper_pool_wait_duration_seconds", "@path")),
            (8, 8, lines(
                "Waited in vain", "Clients that were told to try again.",
                "the application sees SQLSTATE 53300: raise `pool.size` or `query_wait_timeout`.",
                "cps", query(f"sum by ({PLACE}) (rate(gatekeeper_pool_wait_timeouts_total{{@path}}@rate))", NAMED))),
        ]),
        ("What holds the backends?", [
            (8, 8, lines(
                "Backends by what they do", "Backends of all pools: with a session, idle, being dialed, reset or cancelled.",
                "many `leased` and few statements: sessions sit in open transactions. Many `dialing`: the server is slow to log in.",
                "none", query("sum by (state) (gatekeeper_pool_backends{@path})", "{{state}}"), stacked=True, colors=STATES)),
            (8, 8, lines(
                "Pins by reason", "Sessions that left something on their backend that keeps it from being shared.",
                "each reason has a remedy in docs/pooling.md; `GET /v1/sessions` and `SHOW PINS` name the sessions.",
                "cps", query("sum by (reason) (rate(gatekeeper_pins_total{@path}@rate)) > 0", "{{reason}}"), stacked=True)),
            (8, 8, lines(
                "Backends closed, by reason", "Why pools closed backends.",
                "`broken` is the server or the network; `not_clean` and `discarded` are sessions; the rest is housekeeping.",
                "cps", query("sum by (reason) (rate(gatekeeper_pool_backends_closed_total{@path}@rate)) > 0", "{{reason}}"),
                stacked=True, colors={"broken": BAD})),
            (8, 8, lines(
                "State checks", "Catalog queries behind transactions that are not proved to leave no session state.",
                "each costs the server about a millisecond: look for functions that Gatekeeper cannot prove, or `isolation = \"strict\"`.",
                "cps", query(f"sum by ({PLACE}) (rate(gatekeeper_state_checks_total{{@path}}@rate))", NAMED))),
            (8, 8, lines(
                "Backends and limits", "Backends that the pools of a listener hold, and may hold.",
                "a limit far above what the server takes (`max_connections`) only moves the queue there.",
                "none", query(f"sum by ({PLACE}) (gatekeeper_pool_backends{{@path}})", NAMED),
                query(f"sum by ({PLACE}) (gatekeeper_pool_backends_limit{{@path}}) > 0", NAMED + ": limit"))),
            (8, 8, lines(
                "Of an endpoint's budget", "Share of the backends that all pools of an endpoint together may hold.",
                "at 100 % pools take places from each other: see closed backends with the reason `shared`.",
                "percentunit", query("sum by (endpoint, backend_role) (gatekeeper_backends{@endpoint}) "
                                     "/ max by (endpoint, backend_role) (gatekeeper_backends_limit{@endpoint})",
                                     "{{endpoint}} · {{backend_role}}"), steps=limits(0.8, 0.95), top=1)),
        ]),
    ]
