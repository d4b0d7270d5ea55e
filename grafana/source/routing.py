"""Dashboard `routing`: endpoints that served each listener, and the topology that routes followed."""

from .panel import exactly, limits, lines, query, stat, timeline
from .words import CHANGED, CHANGES, STATE, STATES, quantile

NEXT = "clients"
NAMED = "{{endpoint}} · {{backend_role}}"


def rows():
    return [
        ("What does the routing know?", [
            (6, 5, stat(
                "Writable endpoints", "Endpoints whose server accepts writes: exactly 1 is healthy.",
                "0: writes wait and fail. 2 or more: stop one of the servers first.",
                "none", "max(gatekeeper_topology_writable_endpoints{@all})", exactly(1))),
            (6, 5, stat(
                "Age of the topology snapshot", "Time since the last refresh of the oldest topology snapshot.",
                "routes follow this snapshot: if old, Gatekeeper is stuck. Restart Gatekeeper, and report the log.",
                "s", "time() - min(gatekeeper_topology_refresh_timestamp_seconds{@all})", limits(15, 60))),
            (6, 5, stat(
                "Gatekeepers that disagree", "Endpoints with the observed role primary in any Gatekeeper, minus one.",
                "above 0, two processes route writes to different servers: compare their topologies (`$instance`).",
                "none", 'count(count by (endpoint) (gatekeeper_endpoint_role{@all, role="primary"} == 1)) - 1 or vector(0)',
                limits(bad=1))),
            (6, 5, stat(
                "Sessions without an endpoint", "Clients rejected in the displayed time range because no endpoint of their route was available.",
                "the timeline shows the missing endpoint; `hold` bridges short absences of the writer.",
                "none", 'sum(increase(gatekeeper_client_refusals_total{@listener, reason="no_endpoint"}[$__range]))',
                limits(bad=1), decimals=0)),
            (24, 6, timeline(
                "Topology", "Role of each endpoint by color; red: down; orange: observed role differs from the declared role.",
                "routes follow within one probe interval; compare the times with the traffic below.", STATE, STATES)),
        ]),
        ("Which clients wait for a writer?", [
            (5, 8, lines(
                "Clients on hold", "Clients waiting for a writer now.",
                "no action within `hold` after a failover; beyond, see the endpoint of the primary.",
                "none", query("sum by (listener) (gatekeeper_held_clients{@listener})", "{{listener}}"), stacked=True)),
            (5, 8, lines(
                "Finished holds", "Finished waits for a writer, by outcome.",
                "`expired` was an error for a client (57P03): the writer was absent for longer than `hold`.",
                "cps", query("sum by (outcome) (rate(gatekeeper_holds_total{@listener}@rate)) > 0", "{{outcome}}"), stacked=True)),
            (5, 8, lines(
                "Time on hold, p99", "Time within which 99 of 100 holds ended.",
                "compare with `hold` of the listener.",
                "s", query(quantile(0.99, "gatekeeper_hold_duration_seconds", "@listener", "listener"), "{{listener}}"))),
            (5, 8, lines(
                "Absence of the writer, p99", "Time between two answers of the writer with failed probes in between, 99 of 100.",
                "the usual time of a failover; `hold` must be longer.",
                "s", query(quantile(0.99, "gatekeeper_writer_absence_duration_seconds", "@all"), "absence"))),
            (4, 8, lines(
                "Interrupted transactions", "Transactions whose backend was lost, by fate.",
                "`unknown` were told 08007: their clients have to look whether they took effect.",
                "cps", query("sum by (fate) (rate(gatekeeper_interrupted_transactions_total{@listener}@rate)) > 0", "{{fate}}"),
                query("sum by (outcome) (rate(gatekeeper_commits_in_doubt_total{@listener}@rate))", "COMMIT: {{outcome}}"),
                query("sum by (endpoint) (rate(gatekeeper_backends_terminated_total{@endpoint}@rate))", "{{endpoint}}: given up"))),
        ]),
        ("Where do statements go?", [
            (12, 9, lines(
                "Statements by listener and endpoint", "Statements by listener and answering endpoint.",
                "a listener with route `read-pool` that shows the primary has lost its read pools.",
                "reqps", query("sum by (listener, endpoint, backend_role) (rate(gatekeeper_statements_total{@path}@rate)) > 0",
                               "{{listener}} → {{endpoint}} · {{backend_role}}"), stacked=True)),
            (12, 9, lines(
                "Statements by declared role", "Statements answered by the primary, the read pools and the secondary cluster.",
                "if the primary's share grows, reads have returned to the primary.",
                "reqps", query("sum by (backend_role) (rate(gatekeeper_statements_total{@path}@rate))", "{{backend_role}}"), stacked=True)),
        ]),
        ("Why?", [
            (12, 9, lines(
                "Decisions by reason", "Route decisions for sessions and statements, by reason.",
                "`gatekeeper classify` shows how a text is classified and why; the audit log has the reason of each statement.",
                "reqps", query("sum by (reason) (rate(gatekeeper_route_decisions_total{@listener}@rate)) > 0", "{{reason}}"), stacked=True)),
            (12, 9, lines(
                "Read fallbacks by reason", "Reads sent to the primary instead of a read pool.",
                "`no-reader`: read pools are down. `lagging`, `not-fresh`, `answer-too-old`: they lag. `not-sampled`: no WAL sample of the writer in time. "
                "Other reasons: reads that were rerun after a failure on a standby.",
                "reqps", query("sum by (listener, reason) (rate(gatekeeper_read_fallbacks_total{@listener}@rate)) > 0",
                               "{{listener}} · {{reason}}"), stacked=True)),
            (12, 8, lines(
                "Reruns by cause", "Statements that failed on an endpoint and were rerun on another, invisibly for the client.",
                "`read-only-refused` are writes classified as reads: report the statement. `recovery-conflict`: see the lag. "
                "`node-lost`: see the endpoint.",
                "reqps", query("sum by (cause) (rate(gatekeeper_reruns_total{@endpoint}@rate))", "{{cause}}"),
                stacked=True)),
            (12, 8, lines(
                "WAL samples of the writer", "Queries of the writer's WAL position for reads on standbys.",
                "errors here send reads to the primary: see the primary's endpoint.",
                "ops", query("sum by (endpoint, outcome) (rate(gatekeeper_writer_samples_total{@endpoint}@rate)) > 0",
                             "{{endpoint}} · {{outcome}}"))),
        ]),
        ("How fresh are reads?", [
            (8, 8, lines(
                "Replication lag", "Time since a standby was level with its writer.",
                "reads on the standby see a state of that age.",
                "s", query("max by (endpoint, backend_role) (gatekeeper_replication_lag_seconds{@endpoint})", NAMED), steps=limits(10, 30))),
            (8, 8, lines(
                "Last probe", "Time since the last successful health probe of each endpoint.",
                "an endpoint with repeated failed probes is removed from the routes.",
                "s", query("time() - max by (endpoint, backend_role) (gatekeeper_probe_success_timestamp_seconds{@endpoint})", NAMED),
                steps=limits(15, 30))),
            (8, 8, lines(
                "Topology changes", "Topology changes by kind.",
                "`writer` is a failover, `role` a server that was promoted or demoted, `node` another server behind an address.",
                "none", query(CHANGED, "{{kind}}"), bars=True, stacked=True, colors=CHANGES)),
        ]),
    ]
