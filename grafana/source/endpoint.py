"""Which one is not fine? One endpoint after another, from its state down to its replication."""

from .panel import floor, heatmap, limits, lines, query, stat, table, timeline
from .words import BAD, GOOD, STATE, STATES, quantile

NEXT = "pools"
NAMED = "{{endpoint}} · {{backend_role}}"
BY = "by (endpoint, backend_role)"
TOKEN = "max by (endpoint) (gatekeeper_token_expiry_timestamp_seconds{@endpoint}) - time()"
CERTIFICATES = "min by (endpoint, certificate) (gatekeeper_certificate_expiry_timestamp_seconds{@endpoint}) - time()"


def standing():
    return [
        (24, 6, timeline(
            "What it is", "Colour is the role, red is down, orange was promoted or demoted and is not what it is declared to be.",
            "where it turns red is the moment to look for in the server's own log.", STATE, STATES)),
        (6, 5, stat(
            "Seen well", "Time since a login and its questions last worked, of the endpoint that waits longest.",
            "more than a few intervals of the probe: `gatekeeper doctor` goes through name, TLS, token and login one by one.",
            "s", "time() - min(gatekeeper_probe_success_timestamp_seconds{@endpoint})", limits(15, 30))),
        (6, 5, stat(
            "Looks that failed", "Looks at endpoints that failed, as a share of all.",
            "the log says why at level `warn`; the phases of connecting below say where.",
            "percentunit", 'sum(rate(gatekeeper_probes_total{@endpoint, outcome="error"}@rate)) '
            "/ sum(rate(gatekeeper_probes_total{@endpoint}@rate))", limits(0.01, 0.2))),
        (6, 5, stat(
            "Logins that failed", "Attempts to open a backend that failed, as a share of all.",
            "see the phase below: `token` is ours, `tls` a certificate, `login` the server's word, `tcp` the network.",
            "percentunit", 'sum(increase(gatekeeper_connects_total{@endpoint, outcome="error"}[$__range])) '
            "/ sum(increase(gatekeeper_connects_total{@endpoint}[$__range]))", limits(0.01, 0.2))),
        (6, 5, stat(
            "Next certificate ends in", "The least time left of any certificate of these endpoints.",
            "renew it, or fetch the cluster's new CA; changed files are read by themselves.",
            "s", f"min({CERTIFICATES})", floor(14 * 86400, 3 * 86400))),
    ]


def reaching():
    phase = "by (endpoint, phase)"
    return [
        (8, 8, lines(
            "Looks by outcome", "Looks of the probe at each endpoint, and how they ended.",
            "errors on one endpoint are that server or the way to it; on all, this machine.",
            "ops", query("sum by (endpoint, outcome) (rate(gatekeeper_probes_total{@endpoint}@rate))", "{{endpoint}} · {{outcome}}"))),
        (8, 8, lines(
            "Time of a look", "Time that 95 of 100 looks took, login included.",
            "a server that answers ever more slowly is about to be overloaded: look at its processor and connections.",
            "s", query(quantile(0.95, "gatekeeper_probe_duration_seconds", "@endpoint", "endpoint, backend_role"), NAMED))),
        (8, 8, lines(
            "Backends opened", "Attempts to open a backend, and how they ended.",
            "many in a row mean that backends do not live long: see why pools close them on the pools dashboard.",
            "cps", query("sum by (endpoint, outcome) (rate(gatekeeper_connects_total{@endpoint}@rate))", "{{endpoint}} · {{outcome}}"))),
        (8, 8, lines(
            "Failures by phase", "Attempts that failed, by the phase of connecting they failed in.",
            "`resolve`: the name; `tcp`: address or firewall; `tls`: CA, name or expiry; `token`: minting; `login`: the server said no.",
            "cps", query(f"sum {phase} (rate(gatekeeper_connect_failures_total{{@endpoint}}@rate)) > 0", "{{endpoint}} · {{phase}}"),
            stacked=True)),
        (8, 8, lines(
            "Time of each phase", "Time that 95 of 100 connects spent in each phase.",
            "a slow `token` is the token command; a slow `login` is a server without processor time or with many connections.",
            "s", query(quantile(0.95, "gatekeeper_connect_duration_seconds", "@endpoint", "phase"), "{{phase}}"), log=True)),
        (8, 8, lines(
            "Cancel requests sent", "Cancel requests forwarded to endpoints, and whether they could be delivered.",
            "many at once are clients that give up: find out what is slow.",
            "cps", query("sum by (endpoint, outcome) (rate(gatekeeper_cancels_total{@endpoint}@rate))", "{{endpoint}} · {{outcome}}"))),
    ]


def serving():
    path = "@path"
    return [
        (8, 8, lines(
            "Statements by outcome", "Statements answered well and with an error.",
            "errors that rise with all statements are the application's; errors that rise alone are the server's.",
            "reqps", query("sum by (outcome) (rate(gatekeeper_statements_total{@path}@rate))", "{{outcome}}"),
            stacked=True, colors={"ok": GOOD, "error": BAD})),
        (8, 8, lines(
            "Errors by class of SQLSTATE", "What the errors were: 53 resources, 57 shutdowns and cancels, 40 conflicts, 42 mistakes in SQL.",
            "57 and 08: the server went away. 53: it is full. 25: a write on a read pool. 40 on a read pool: replay cancelled the query.",
            "reqps", query("sum by (endpoint, sqlstate_class) (rate(gatekeeper_statement_errors_total{@path}@rate)) > 0",
                           "{{endpoint}} · {{sqlstate_class}}"), stacked=True)),
        (8, 8, lines(
            "Time of statements", "Time within which half, 95 and 99 of 100 statements were answered.",
            "if only the last line rises, a few statements are slow: the audit log has their duration.",
            "s", query(quantile(0.5, "gatekeeper_statement_duration_seconds", path), "half of them"),
            query(quantile(0.95, "gatekeeper_statement_duration_seconds", path), "95 of 100"),
            query(quantile(0.99, "gatekeeper_statement_duration_seconds", path), "99 of 100"))),
        (12, 8, heatmap(
            "Spread of statements", "How many statements took how long: dark is many.",
            "two bands are two kinds of statement; a band that moves up is the server slowing down for all.",
            "gatekeeper_statement_duration_seconds", path)),
        (6, 8, lines(
            "Bytes", "Protocol bytes relayed in each direction.",
            "a sudden rise towards clients is somebody fetching a large result: the sessions list shows who.",
            "Bps", query("sum by (direction) (rate(gatekeeper_traffic_bytes_total{@path}@rate))", "{{direction}}"))),
        (6, 8, lines(
            "Transactions", "Transactions that ended, by endpoint.",
            "far fewer than statements means long transactions, which hold their backends.",
            "ops", query(f"sum {BY} (rate(gatekeeper_transactions_total{{@path}}@rate))", NAMED), stacked=True)),
    ]


def replication():
    return [
        (8, 8, lines(
            "Lag in time", "How long ago a standby was level with its writer.",
            "a line that grows evenly is a standby that replays nothing.",
            "s", query(f"max {BY} (gatekeeper_replication_lag_seconds{{@endpoint}})", NAMED), steps=limits(10, 30))),
        (8, 8, lines(
            "Lag in WAL", "Octets of WAL that a standby has not replayed.",
            "grows with a heavy load and shrinks after it: the standby is too small. Grows always: it is stuck.",
            "bytes", query(f"max {BY} (gatekeeper_replication_lag_bytes{{@endpoint}})", NAMED))),
        (8, 8, lines(
            "WAL written and replayed", "How fast the writer writes WAL, and each standby replays it.",
            "a standby whose line is below the writer's falls behind.",
            "Bps", query(f"clamp_min(max {BY} (deriv(gatekeeper_replication_position_bytes{{@endpoint}}[1m])), 0)", NAMED))),
        (12, 8, lines(
            "Backends open", "Connections that are open to each endpoint, beside the limit if there is one.",
            "at the limit clients wait, or take each other's places: raise `max_backends`, or the server's `max_connections` first.",
            "none", query(f"sum {BY} (gatekeeper_backends{{@endpoint}})", NAMED),
            query("max by (endpoint) (gatekeeper_backends_limit{@endpoint})", "{{endpoint}}: limit"))),
        (12, 8, table(
            "Certificates and tokens", "Time left of each certificate (the CA's, the server's, ours) and of the token in use.",
            "red: renew it now. No value: there is none of that kind. A token of 0 s is not wanted by anybody, or cannot be renewed.", "endpoint", [
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
