"""Is it fine? What the person on call opens first."""

from .dashboard import link_to
from .panel import exactly, floor, limits, lines, query, stat, states, table, timeline
from .words import BAD, CHANGED, CHANGES, DOUBTFUL, STATE, STATES, error_ratio, quantile

NEXT = "endpoint"

def linked(name, panel):
    panel["links"] = [link_to(name)]
    return panel


def verdict():
    return [
        (3, 4, stat(
            "Gatekeepers answering", "Processes that Prometheus could scrape.",
            "if one is missing, look at its process and its log first: nothing below knows of it.",
            "none", "sum(up{@all})", floor(bad=1))),
        (3, 4, linked("routing", stat(
            "Taking writes", "Endpoints whose server says that it takes writes. One is right.",
            "at 0 writes fail: see the timeline for who wrote last. At 2 or more two servers may be taking different "
            "writes: stop one of them before anything else.",
            "none", "max(gatekeeper_topology_writable_endpoints{@all})", exactly(1)))),
        (3, 4, stat(
            "Endpoints down", "Endpoints that cannot be logged in to.",
            "the red row below is the one; click on its name.",
            "none", 'count(max by (endpoint) (gatekeeper_endpoint_health{@endpoint, state="down"}) == 1) or vector(0)',
            limits(bad=1))),
        (3, 4, stat(
            "Not as declared", "Endpoints whose server has another role than the configuration says.",
            "after a planned promotion: change `role` in the configuration and reload. Otherwise find out who promoted.",
            "none", "sum(max by (endpoint) (gatekeeper_endpoint_role_mismatch{@endpoint}))", limits(doubtful=1))),
        (3, 4, stat(
            "Statements that fail", "Share of statements that servers answered with an error, mistakes in SQL and data (22, 23, 42, P0) aside.",
            "see which endpoint, and there which class of SQLSTATE: 57, 58, 53 and 08 are the cluster's.",
            "percentunit", error_ratio(), limits(0.01, 0.05), decimals=2)),
        (3, 4, stat(
            "Slowest in a hundred", "99 of 100 statements were answered within this time, by the servers and us.",
            "compare with the time in Gatekeeper itself further down: if that is small, the server is slow.",
            "s", quantile(0.99, "gatekeeper_statement_duration_seconds", "@path"), limits(0.5, 2))),
        (3, 4, linked("routing", stat(
            "Worst lag", "How far the standby that is furthest behind is behind its writer.",
            "above seconds: reads are stale. See which endpoint, and whether its WAL arrives or is only not replayed.",
            "s", "max(gatekeeper_replication_lag_seconds{@endpoint})", limits(10, 30)))),
        (3, 4, linked("pools", stat(
            "Clients waiting", "Clients that wait for a backend at this moment.",
            "some for a moment are usual; if they stay, the pools dashboard says where and for how long.",
            "none", "sum(gatekeeper_pool_waiting_clients{@path})", limits(1, 10)))),
    ]


def endpoints():
    columns = [
        ("about", "max by (endpoint, cluster, region, backend_role) (gatekeeper_endpoint_info{@endpoint} == 1)", "none", None),
        ("state", STATE, "none", {"mappings": states(STATES), "steps": limits(4, 6)}),
        ("seen well ago", 'time() - max by (endpoint) (gatekeeper_probe_success_timestamp_seconds{@endpoint})', "s",
         {"steps": limits(15, 30)}),
        ("lag", "max by (endpoint) (gatekeeper_replication_lag_seconds{@endpoint})", "s", {"steps": limits(10, 30)}),
        ("statements/s", "sum by (endpoint) (rate(gatekeeper_statements_total{@path}@rate))", "reqps", None),
        ("failing", error_ratio("endpoint"), "percentunit", {"steps": limits(0.01, 0.05)}),
        ("p99", quantile(0.99, "gatekeeper_statement_duration_seconds", "@path", "endpoint"), "s", {"steps": limits(0.5, 2)}),
        ("backends", "sum by (endpoint) (gatekeeper_backends{@endpoint})", "none", None),
    ]
    return table(
        "Endpoints now", "A row for each endpoint: what it is, how long ago it was last seen well, and what it serves.",
        "go to the endpoint whose row is red.", "endpoint", columns, hidden=("Value #A", "about"), sort="state",
        link=link_to("endpoint", endpoint="${__value.raw}"))


def rows():
    return [
        ("Is anything broken?", verdict()),
        ("Which endpoint, and since when?", [
            (24, 6, endpoints()),
            (24, 6, timeline(
                "Topology", "What each endpoint is: its colour is its role, red is down, orange was promoted or demoted and is not what it is declared to be.",
                "the left end of the red or orange piece is when it began; compare with deployments and maintenance then.",
                STATE, STATES)),
            (12, 7, lines(
                "Replication lag", "How long ago a standby was level with its writer.",
                "a line that grows evenly is a standby that replays nothing: look for a long query there, or for lost WAL.",
                "s", query("max by (endpoint, backend_role) (gatekeeper_replication_lag_seconds{@endpoint})",
                           "{{endpoint}} · {{backend_role}}"), steps=limits(10, 30))),
            (12, 7, linked("routing", lines(
                "Changes of the topology", "What changed, by kind: health, roles, the writer.",
                "`writer` is a failover; `two_writers` means data may be diverging.",
                "none", query(CHANGED, "{{kind}}"), bars=True, stacked=True, colors=CHANGES))),
        ]),
        ("Who feels it?", [
            (8, 8, lines(
                "Statements", "Statements answered, by endpoint.",
                "one endpoint that falls to nothing while others rise has lost its traffic to them.",
                "reqps", query("sum by (endpoint, backend_role) (rate(gatekeeper_statements_total{@path}@rate))",
                               "{{endpoint}} · {{backend_role}}"), stacked=True)),
            (8, 8, lines(
                "Statements that fail", "Share of statements that an endpoint answered with an error, mistakes in SQL and data aside.",
                "open the endpoint: its errors are there by class of SQLSTATE.",
                "percentunit", query(error_ratio("endpoint, backend_role"), "{{endpoint}} · {{backend_role}}"),
                steps=limits(0.01, 0.05))),
            (8, 8, lines(
                "Slowest in a hundred", "Time within which 99 of 100 statements were answered, by endpoint.",
                "one line that rises is that server; all of them at once is this machine or the network.",
                "s", query(quantile(0.99, "gatekeeper_statement_duration_seconds", "@path", "endpoint, backend_role"),
                           "{{endpoint}} · {{backend_role}}"))),
            (8, 7, linked("clients", lines(
                "Time in Gatekeeper itself", "The part of a statement's time that we spent, not the server.",
                "should be far below a millisecond; if not, look at processor and file descriptors on the clients dashboard.",
                "s", query(quantile(0.5, "gatekeeper_proxy_overhead_seconds", "@path"), "half of them"),
                query(quantile(0.99, "gatekeeper_proxy_overhead_seconds", "@path"), "99 of 100")))),
            (8, 7, linked("clients", lines(
                "Clients turned away", "Clients that got no session: limits, TLS, authentication, no endpoint.",
                "the reason is the colour; `no_endpoint` is the cluster's fault, the rest is ours or theirs.",
                "cps", query("sum by (reason) (rate(gatekeeper_client_refusals_total{@listener}@rate)) > 0", "{{reason}}"),
                query("sum by (reason) (rate(gatekeeper_authentication_failures_total{@listener}@rate)) > 0",
                      "authentication: {{reason}}"), stacked=True))),
            (8, 7, linked("clients", timeline(
                "Alerts", "Alerts of these rules that are firing, or will if it lasts, as the same Prometheus evaluates them.",
                "each has a section in grafana/RUNBOOK.md, called like it.",
                '2 * max by (alertname) (ALERTS{alertname=~"Gatekeeper.*", alertstate="firing"})\n'
                'or max by (alertname) (ALERTS{alertname=~"Gatekeeper.*", alertstate="pending"})',
                {1: ("pending", DOUBTFUL), 2: ("firing", BAD)},
                legend="{{alertname}}"))),
        ]),
    ]
