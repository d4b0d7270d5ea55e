"""Dashboard `overview`: the first dashboard during an incident."""

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
            "Gatekeepers up", "Processes that Prometheus could scrape.",
            "if a process is missing, check the process and its log first: no panel below shows it.",
            "none", "sum(up{@all} and on (job, instance) last_over_time(gatekeeper_build_info{@all}[1d]))", floor(bad=1))),
        (3, 4, linked("routing", stat(
            "Writable endpoints", "Endpoints whose server accepts writes: exactly 1 is healthy.",
            "at 0, writes fail: the timeline shows the last writer. At 2 or more, servers may accept diverging "
            "writes: stop one of them first.",
            "none", "max(gatekeeper_topology_writable_endpoints{@all})", exactly(1)))),
        (3, 4, stat(
            "Endpoints down", "Endpoints where logins fail.",
            "click on the name in the red row below.",
            "none", 'count(max by (endpoint) (gatekeeper_endpoint_health{@endpoint, state="down"}) == 1) or vector(0)',
            limits(bad=1))),
        (3, 4, stat(
            "Not as declared", "Endpoints whose server has another role than the configuration says.",
            "after a planned promotion: change `role` in the configuration and reload. Otherwise find out who promoted.",
            "none", "sum(max by (endpoint) (gatekeeper_endpoint_role_mismatch{@endpoint}))", limits(doubtful=1))),
        (3, 4, stat(
            "Failed statements", "Share of statements that failed on a server, without errors in SQL and data (22, 23, 42, P0).",
            "find the endpoint and its SQLSTATE classes: 57, 58, 53 and 08 are caused by the cluster.",
            "percentunit", error_ratio(), limits(0.01, 0.05), decimals=2)),
        (3, 4, stat(
            "Statement time, p99", "p99: 99 of 100 statements were answered within this time, including the time in Gatekeeper.",
            "compare with the time in Gatekeeper below: if that is small, the server is slow.",
            "s", quantile(0.99, "gatekeeper_statement_duration_seconds", "@path"), limits(0.5, 2))),
        (3, 4, linked("routing", stat(
            "Worst lag", "Largest replication lag of a standby.",
            "above some seconds, reads are stale. Find the endpoint, and check whether its WAL arrives or is only not replayed.",
            "s", "max(gatekeeper_replication_lag_seconds{@endpoint})", limits(10, 30)))),
        (3, 4, linked("pools", stat(
            "Clients waiting", "Clients waiting for a backend connection.",
            "short waits are normal; for lasting waits, the pools dashboard shows pools and durations.",
            "none", "sum(gatekeeper_pool_waiting_clients{@path})", limits(1, 10)))),
    ]


def endpoints():
    columns = [
        ("about", "max by (endpoint, cluster, region, backend_role) (gatekeeper_endpoint_info{@endpoint} == 1)", "none", None),
        ("state", STATE, "none", {"mappings": states(STATES), "steps": limits(4, 6)}),
        ("last probe", 'time() - max by (endpoint) (gatekeeper_probe_success_timestamp_seconds{@endpoint})', "s",
         {"steps": limits(15, 30)}),
        ("lag", "max by (endpoint) (gatekeeper_replication_lag_seconds{@endpoint})", "s", {"steps": limits(10, 30)}),
        ("statements/s", "sum by (endpoint) (rate(gatekeeper_statements_total{@path}@rate))", "reqps", None),
        ("failing", error_ratio("endpoint"), "percentunit", {"steps": limits(0.01, 0.05)}),
        ("p99", quantile(0.99, "gatekeeper_statement_duration_seconds", "@path", "endpoint"), "s", {"steps": limits(0.5, 2)}),
        ("backends", "sum by (endpoint) (gatekeeper_backends{@endpoint})", "none", None),
    ]
    return table(
        "Endpoints now", "A row for each endpoint: state, time since the last successful probe, and traffic.",
        "go to the endpoint whose row is red.", "endpoint", columns, hidden=("Value #A", "about"), sort="state",
        link=link_to("endpoint", endpoint="${__value.raw}"))


def rows():
    return [
        ("Is anything broken?", verdict()),
        ("Which endpoint, and since when?", [
            (24, 6, endpoints()),
            (24, 6, timeline(
                "Topology", "Role of each endpoint by color; red: down; orange: observed role differs from the declared role.",
                "the left end of a red or orange section is its start; compare with deployments and maintenance at that time.",
                STATE, STATES)),
            (12, 7, lines(
                "Replication lag", "Time since a standby was level with its writer.",
                "a steadily growing line is a standby without replay: look for a long query on it, or for missing WAL.",
                "s", query("max by (endpoint, backend_role) (gatekeeper_replication_lag_seconds{@endpoint})",
                           "{{endpoint}} · {{backend_role}}"), steps=limits(10, 30))),
            (12, 7, linked("routing", lines(
                "Topology changes", "Topology changes by kind: health, roles, writer.",
                "`writer` is a failover; `two_writers` means data may be diverging.",
                "none", query(CHANGED, "{{kind}}"), bars=True, stacked=True, colors=CHANGES))),
        ]),
        ("Who is affected?", [
            (8, 8, lines(
                "Statements", "Statements answered, by endpoint.",
                "an endpoint that drops to zero while others rise has lost its traffic to them.",
                "reqps", query("sum by (endpoint, backend_role) (rate(gatekeeper_statements_total{@path}@rate))",
                               "{{endpoint}} · {{backend_role}}"), stacked=True)),
            (8, 8, lines(
                "Failed statements", "Share of statements that failed on an endpoint, without errors in SQL and data.",
                "the endpoint dashboard shows errors by SQLSTATE class.",
                "percentunit", query(error_ratio("endpoint, backend_role"), "{{endpoint}} · {{backend_role}}"),
                steps=limits(0.01, 0.05))),
            (8, 8, lines(
                "Statement time, p99", "Time within which 99 of 100 statements were answered, by endpoint.",
                "one rising line points to that server; all lines together point to this machine or the network.",
                "s", query(quantile(0.99, "gatekeeper_statement_duration_seconds", "@path", "endpoint, backend_role"),
                           "{{endpoint}} · {{backend_role}}"))),
            (8, 10, linked("clients", lines(
                "Time in Gatekeeper", "Part of a statement's time spent in Gatekeeper, not on the server.",
                "normally far below a millisecond; otherwise check processor and file descriptors on the clients dashboard.",
                "s", query(quantile(0.5, "gatekeeper_proxy_overhead_seconds", "@path"), "p50"),
                query(quantile(0.99, "gatekeeper_proxy_overhead_seconds", "@path"), "p99")))),
            (8, 10, linked("clients", lines(
                "Rejected clients", "Clients without a session: limits, TLS, authentication, no endpoint.",
                "colors show reasons; `no_endpoint` is caused by the cluster, other reasons by Gatekeeper or clients.",
                "cps", query("sum by (reason) (rate(gatekeeper_client_refusals_total{@listener}@rate)) > 0", "{{reason}}"),
                query("sum by (reason) (rate(gatekeeper_authentication_failures_total{@listener}@rate)) > 0",
                      "authentication: {{reason}}"), stacked=True))),
            (8, 10, linked("clients", timeline(
                "Alerts", "Firing and pending alerts of these rules, from the same Prometheus.",
                "each alert has a section in grafana/RUNBOOK.md.",
                '2 * max by (alertname) (ALERTS{alertname=~"Gatekeeper.*", alertstate="firing"})\n'
                'or max by (alertname) (ALERTS{alertname=~"Gatekeeper.*", alertstate="pending"})',
                {1: ("pending", DOUBTFUL), 2: ("firing", BAD)},
                legend="{{alertname}}"))),
        ]),
    ]
