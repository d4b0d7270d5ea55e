"""Dashboard `endpoint`: state, logins, statements and replication of each endpoint."""

from .panel import floor, heatmap, limits, lines, query, stat, table, timeline
from .words import BAD, DOUBTFUL, GOOD, STATE, STATES, UNKNOWN, quantile

NEXT = "pools"
NAMED = "{{endpoint}} · {{backend_role}}"
BY = "by (endpoint, backend_role)"
REPLAY = """
  4 * max by (endpoint) (gatekeeper_endpoint_replay{@endpoint, state="diverged"} == 1)
or 3 * max by (endpoint) (gatekeeper_endpoint_replay{@endpoint, state="paused"} == 1)
or 2 * max by (endpoint) (gatekeeper_endpoint_replay{@endpoint, state="stalled"} == 1)
or 5 * max by (endpoint) (gatekeeper_endpoint_lagging{@endpoint} == 1)
or 1 * max by (endpoint) (gatekeeper_endpoint_replay{@endpoint, state="replaying"} == 1)
"""
REPLAY_STATES = {0: ("unknown", UNKNOWN), 1: ("replaying", GOOD), 2: ("stalled", BAD), 3: ("paused", BAD), 4: ("diverged", BAD),
                 5: ("lagging", DOUBTFUL)}
TOKEN = "max by (endpoint) (gatekeeper_token_expiry_timestamp_seconds{@endpoint}) - time()"
CERTIFICATES = "min by (endpoint, certificate) (gatekeeper_certificate_expiry_timestamp_seconds{@endpoint}) - time()"


def standing():
    return [
        (24, 6, timeline(
            "State", "Color: role; red: down; orange: observed role differs from the declared role.",
            "search the server's log at the time of the change to red.", STATE, STATES)),
        (6, 5, stat(
            "Last probe", "Longest time since a successful health probe.",
            "more than a few intervals of the probe: `gatekeeper doctor` goes through name, TLS, token and login one by one.",
            "s", "time() - min(gatekeeper_probe_success_timestamp_seconds{@endpoint})", limits(15, 30))),
        (6, 5, stat(
            "Failed probes", "Share of failed health probes.",
            "the log has the reasons at level `warn`; the connection phases below show where.",
            "percentunit", 'sum(rate(gatekeeper_probes_total{@endpoint, outcome="error"}@rate)) '
            "/ sum(rate(gatekeeper_probes_total{@endpoint}@rate))", limits(0.01, 0.2))),
        (6, 5, stat(
            "Failed logins", "Share of failed attempts to open a backend.",
            "see the phase below: `token`: minting; `tls`: a certificate; `login`: the server's decision; `tcp`: the network.",
            "percentunit", 'sum(increase(gatekeeper_connects_total{@endpoint, outcome="error"}[$__range])) '
            "/ sum(increase(gatekeeper_connects_total{@endpoint}[$__range]))", limits(0.01, 0.2))),
        (6, 5, stat(
            "Next certificate ends in", "Shortest time to expiry of a certificate of these endpoints.",
            "renew the certificate, or install the cluster's new CA; changed files are reloaded automatically.",
            "s", f"min({CERTIFICATES})", floor(14 * 86400, 3 * 86400))),
    ]


def reaching():
    phase = "by (endpoint, phase)"
    return [
        (8, 8, lines(
            "Probes by outcome", "Health probes of each endpoint, by outcome.",
            "errors on one endpoint point to its server or network; errors on all point to this machine.",
            "ops", query("sum by (endpoint, outcome) (rate(gatekeeper_probes_total{@endpoint}@rate))", "{{endpoint}} · {{outcome}}"))),
        (8, 8, lines(
            "Probe time, p95", "Time within which 95 of 100 health probes finished, including the login.",
            "a steadily rising time means an overloaded server: check its processor and connections.",
            "s", query(quantile(0.95, "gatekeeper_probe_duration_seconds", "@endpoint", "endpoint, backend_role"), NAMED))),
        (8, 8, lines(
            "Backends opened", "Attempts to open a backend, by outcome.",
            "many attempts mean short-lived backends: the pools dashboard shows why pools close them.",
            "cps", query("sum by (endpoint, outcome) (rate(gatekeeper_connects_total{@endpoint}@rate))", "{{endpoint}} · {{outcome}}"))),
        (8, 8, lines(
            "Failures by phase", "Failed attempts, by connection phase.",
            "`resolve`: the name; `tcp`: address or firewall; `tls`: CA, name or expiry; `token`: minting; `login`: rejected by the server.",
            "cps", query(f"sum {phase} (rate(gatekeeper_connect_failures_total{{@endpoint}}@rate)) > 0", "{{endpoint}} · {{phase}}"),
            stacked=True)),
        (8, 8, lines(
            "Time of each phase, p95", "Time within which 95 of 100 attempts finished each phase.",
            "a slow `token` is the token command; a slow `login` is a server without processor time or with many connections.",
            "s", query(quantile(0.95, "gatekeeper_connect_duration_seconds", "@endpoint", "phase"), "{{phase}}"), log=True)),
        (8, 8, lines(
            "Cancel requests sent", "Cancel requests forwarded to endpoints, by outcome of the delivery.",
            "many at once mean clients that give up: find the slow statements.",
            "cps", query("sum by (endpoint, outcome) (rate(gatekeeper_cancels_total{@endpoint}@rate))", "{{endpoint}} · {{outcome}}"))),
    ]


def serving():
    path = "@path"
    return [
        (8, 8, lines(
            "Statements by outcome", "Statements that succeeded, that failed, and that Gatekeeper refused for want of a backend.",
            "errors that rise with the number of statements come from the application; errors that rise alone come from the server.",
            "reqps", query("sum by (outcome) (rate(gatekeeper_statements_total{@path}@rate))", "{{outcome}}"),
            stacked=True, colors={"ok": GOOD, "error": BAD, "refused": DOUBTFUL})),
        (8, 8, lines(
            "Errors by SQLSTATE class", "Errors: 53 resources, 57 shutdowns and cancels, 40 conflicts, 42 mistakes in SQL.",
            "57 and 08: the connection to the server was lost. 53: the server is full. 25: a write on a read pool. 40 on a read pool: WAL replay canceled the query.",
            "reqps", query("sum by (endpoint, sqlstate_class) (rate(gatekeeper_statement_errors_total{@path}@rate)) > 0",
                           "{{endpoint}} · {{sqlstate_class}}"), stacked=True)),
        (8, 8, lines(
            "Statement time", "p50, p95 and p99: time within which half, 95 and 99 of 100 statements were answered.",
            "if only the last line rises, a few statements are slow: the audit log has their duration.",
            "s", query(quantile(0.5, "gatekeeper_statement_duration_seconds", path), "p50"),
            query(quantile(0.95, "gatekeeper_statement_duration_seconds", path), "p95"),
            query(quantile(0.99, "gatekeeper_statement_duration_seconds", path), "p99"))),
        (12, 8, heatmap(
            "Spread of statements", "Distribution of statement times: dark cells are many statements.",
            "two bands are two kinds of statements; a band that moves up shows a slower server.",
            "gatekeeper_statement_duration_seconds", path)),
        (6, 8, lines(
            "Bytes", "Protocol bytes relayed in each direction.",
            "a sudden rise towards clients is a large result: the list of sessions shows the client.",
            "Bps", query("sum by (direction) (rate(gatekeeper_traffic_bytes_total{@path}@rate))", "{{direction}}"))),
        (6, 8, lines(
            "Transactions", "Transactions that ended, by endpoint.",
            "far fewer than statements means long transactions, which hold their backends.",
            "ops", query(f"sum {BY} (rate(gatekeeper_transactions_total{{@path}}@rate))", NAMED), stacked=True)),
    ]


def replication():
    return [
        (8, 8, lines(
            "Lag in time", "Time since a standby was level with its writer.",
            "a steadily growing line is a standby without replay.",
            "s", query(f"max {BY} (gatekeeper_replication_lag_seconds{{@endpoint}})", NAMED), steps=limits(10, 30))),
        (8, 8, lines(
            "Lag in WAL", "Bytes of WAL that a standby has not replayed.",
            "growth under load that shrinks afterwards: the standby is too small. Steady growth: replay is stuck.",
            "bytes", query(f"max {BY} (gatekeeper_replication_lag_bytes{{@endpoint}})", NAMED))),
        (8, 8, timeline(
            "Replay", "State of WAL replay on each standby: the worst state of several nodes behind an address.",
            "`paused`: call `pg_wal_replay_resume()`; `stalled`: look for a long query on the standby, or a broken connection to its writer.",
            REPLAY, REPLAY_STATES)),
        (12, 8, lines(
            "WAL written and replayed", "Rate of WAL written by the writer and replayed by each standby.",
            "a standby whose line is below the writer's falls behind.",
            "Bps", query(f"clamp_min(max {BY} (deriv(gatekeeper_replication_position_bytes{{@endpoint}}[1m])), 0)", NAMED))),
        (12, 8, lines(
            "Backends open", "Open connections to each endpoint, with the limit if set.",
            "at the limit, clients wait or pools take connections from each other: raise `max_backends`, or the server's `max_connections` first.",
            "none", query(f"sum {BY} (gatekeeper_backends{{@endpoint}})", NAMED),
            query("max by (endpoint) (gatekeeper_backends_limit{@endpoint})", "{{endpoint}}: limit"))),
        (24, 8, table(
            "Certificates and tokens", "Time to expiry of each certificate (CA, server, Gatekeeper's client certificate) and of the current token.",
            "red: renew now. No value: not in use. A token at 0 s is unused, or cannot be renewed.", "endpoint", [
                ("CA", _certificate("ca"), "s", {"steps": floor(14 * 86400, 3 * 86400)}),
                ("server", _certificate("server"), "s", {"steps": floor(14 * 86400, 3 * 86400)}),
                ("ours", _certificate("client"), "s", {"steps": floor(14 * 86400, 3 * 86400)}),
                ("token", f"clamp_min({TOKEN}, 0)", "s", None),
            ])),
    ]


def _certificate(kind):
    return f'min by (endpoint) (gatekeeper_certificate_expiry_timestamp_seconds{{@endpoint, certificate="{kind}"}}) - time()'


def rows():
    return [
        ("What is it?", standing()),
        ("Can it be reached?", reaching()),
        ("What does it serve?", serving()),
        ("Does it keep up, and what runs out?", replication()),
    ]
