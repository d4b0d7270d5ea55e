"""Why there? Which endpoint served which listener, and what the routing knew."""

from .panel import exactly, limits, lines, query, stat, timeline
from .words import CHANGED, CHANGES, STATE, STATES

NEXT = "clients"
NAMED = "{{endpoint}} · {{backend_role}}"


def rows():
    return [
        ("What does the routing know?", [
            (6, 5, stat(
                "Servers that take writes", "Endpoints whose server says that it takes writes. One is right.",
                "0: writes wait and fail. 2 or more: stop one of the servers before anything else.",
                "none", "max(gatekeeper_topology_writable_endpoints{@all})", exactly(1))),
            (6, 5, stat(
                "Age of the picture", "Time since the picture of the topology was last refreshed, of the oldest.",
                "routes follow this picture: if it is old, Gatekeeper is stuck. Restart it, and report the log.",
                "s", "time() - min(gatekeeper_topology_refresh_timestamp_seconds{@all})", limits(15, 60))),
            (6, 5, stat(
                "Gatekeepers that disagree", "Endpoints that any Gatekeeper takes for a primary, beyond the first.",
                "above 0 two processes route writes to different servers: see which on the topology of each (`$instance`).",
                "none", 'count(count by (endpoint) (gatekeeper_endpoint_role{@all, role="primary"} == 1)) - 1 or vector(0)',
                limits(bad=1))),
            (6, 5, stat(
                "Sessions without an endpoint", "Clients turned away in the time shown because no endpoint of their route could serve.",
                "the timeline says which endpoint was missing; `hold` bridges short absences of the writer.",
                "none", 'sum(increase(gatekeeper_client_refusals_total{@listener, reason="no_endpoint"}[$__range]))',
                limits(bad=1), decimals=0)),
            (24, 6, timeline(
                "Topology", "What each endpoint is: its colour is its role, red is down, orange was promoted or demoted.",
                "a route follows it within one look of the probe; compare the moments with the traffic below.", STATE, STATES)),
        ]),
        ("Where do statements go?", [
            (12, 9, lines(
                "Statements by listener and endpoint", "Which endpoint answered the statements of which listener.",
                "a listener with route `read-pool` that shows the primary has lost its read pools.",
                "reqps", query("sum by (listener, endpoint, backend_role) (rate(gatekeeper_statements_total{@path}@rate)) > 0",
                               "{{listener}} → {{endpoint}} · {{backend_role}}"), stacked=True)),
            (12, 9, lines(
                "Statements by declared role", "How much the primary serves, and how much the read pools and the secondary cluster take off it.",
                "if the primary's part grows, reads have come back to it.",
                "reqps", query("sum by (backend_role) (rate(gatekeeper_statements_total{@path}@rate))", "{{backend_role}}"), stacked=True)),
        ]),
        ("Why?", [
            (12, 9, lines(
                "Decisions by reason", "Why sessions and statements went where they went.",
                "`gatekeeper classify` says of a text what it may do and why; the audit log has the reason of each statement.",
                "reqps", query("sum by (reason) (rate(gatekeeper_route_decisions_total{@listener}@rate)) > 0", "{{reason}}"), stacked=True)),
            (12, 9, lines(
                "Reads that the primary served instead, by reason", "Reads that a read pool would have spared the primary.",
                "`no-reader`: read pools are down. `not-fresh`, `answer-too-old`: they lag. `not-sampled`: the writer was not asked in time. "
                "The rest ran again after a standby could not serve them.",
                "reqps", query("sum by (listener, reason) (rate(gatekeeper_read_fallbacks_total{@listener}@rate)) > 0",
                               "{{listener}} · {{reason}}"), stacked=True)),
            (12, 8, lines(
                "Statements that ran again, by cause", "Statements that failed on an endpoint, unseen by the client, and ran again elsewhere.",
                "`read-only-refused` are writes that looked like reads: tell us of the statement. `recovery-conflict`: see the lag. "
                "`node-lost`: see the endpoint.",
                "reqps", query("sum by (cause) (rate(gatekeeper_reruns_total{@endpoint}@rate))", "{{cause}}"),
                stacked=True)),
            (12, 8, lines(
                "Writer asked where it stands", "How often the writer was asked for its position, so that reads can be fresh enough.",
                "errors here send reads to the primary: see the primary's endpoint.",
                "ops", query("sum by (endpoint, outcome) (rate(gatekeeper_writer_samples_total{@endpoint}@rate)) > 0",
                             "{{endpoint}} · {{outcome}}"))),
        ]),
        ("How fresh are reads?", [
            (8, 8, lines(
                "Replication lag", "How long ago a standby was level with its writer.",
                "reads there see a state of so long ago.",
                "s", query("max by (endpoint, backend_role) (gatekeeper_replication_lag_seconds{@endpoint})", NAMED), steps=limits(10, 30))),
            (8, 8, lines(
                "Seen well", "Time since each endpoint was last looked at with success.",
                "an endpoint that is not seen for some looks is taken out of the routes.",
                "s", query("time() - max by (endpoint, backend_role) (gatekeeper_probe_success_timestamp_seconds{@endpoint})", NAMED),
                steps=limits(15, 30))),
            (8, 8, lines(
                "Changes of the topology", "What changed, by kind.",
                "`writer` is a failover, `role` a server that was promoted or demoted, `node` another server behind an address.",
                "none", query(CHANGED, "{{kind}}"), bars=True, stacked=True, colors=CHANGES)),
        ]),
    ]
