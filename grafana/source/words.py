"""What looks the same everywhere: colours of roles and states, and the abbreviations of queries."""

PRIMARY, READ_POOL, SECONDARY = "#3274D9", "#14A3B8", "#A352CC"
GOOD, DOUBTFUL, BAD, UNKNOWN = "#3D9C4A", "#FF9830", "#E02F44", "#8E8E8E"

# By `backend_role`, the declared role, word for word.
ROLES = {"primary": PRIMARY, "read-pool": READ_POOL, "replica": READ_POOL, "secondary": SECONDARY}

# By kind of change of the topology.
CHANGES = {"up": GOOD, "down": BAD, "role": "#8AB8FF", "node": UNKNOWN, "mismatch": DOUBTFUL, "writer": "#F2CC0C",
           "two_writers": "#E83E8C"}

# What an endpoint is, as one number, worst last. Demoted: a standby that is declared primary; promoted: the reverse.
STATES = {
    0: ("unknown", UNKNOWN),
    1: ("primary", PRIMARY),
    2: ("read pool", READ_POOL),
    3: ("secondary", SECONDARY),
    4: ("demoted", DOUBTFUL),
    5: ("promoted", DOUBTFUL),
    6: ("DOWN", BAD),
}

# The first of these that holds for an endpoint is its state; the last one always does.
STATE = """
  6 * max by (endpoint) (gatekeeper_endpoint_health{@endpoint, state="down"} == 1)
or 5 * max by (endpoint) (gatekeeper_endpoint_role{@endpoint, role="primary", backend_role!="primary"} == 1)
or 4 * max by (endpoint) (gatekeeper_endpoint_role{@endpoint, role="standby", backend_role="primary"} == 1)
or 3 * max by (endpoint) (gatekeeper_endpoint_role{@endpoint, role="standby", backend_role="secondary"} == 1)
or 2 * max by (endpoint) (gatekeeper_endpoint_role{@endpoint, role="standby"} == 1)
or 1 * max by (endpoint) (gatekeeper_endpoint_role{@endpoint, role="primary"} == 1)
or 0 * max by (endpoint) (gatekeeper_endpoint_info{@endpoint} == 1)
"""

# Changes of the topology, each of which is one: rates are extrapolated, and one would be shown as 1.14.
CHANGED = "round(sum by (kind) (increase(gatekeeper_topology_changes_total{@all}@rate)))"

# Errors that are not mistakes of the application in its own SQL and data.
FAULTS = 'gatekeeper_statement_errors_total{@path, sqlstate_class!~"22|23|42|P0"}'

# Longest first: one is the beginning of another.
ABBREVIATIONS = {
    "@endpoint": '@all, endpoint=~"$endpoint"',
    "@listener": '@all, listener=~"$listener"',
    "@path": '@all, listener=~"$listener", endpoint=~"$endpoint"',
    "@all": 'job=~"$job", instance=~"$instance"',
    "@rate": "[$__rate_interval]",
}


def spell_out(query):
    """A query as Grafana wants it: abbreviations replaced, on as few lines as it was written on."""
    for short, long in ABBREVIATIONS.items():
        query = query.replace(short, long)
    return "\n".join(line.strip() for line in query.strip().splitlines())


def error_ratio(by=""):
    """The share of statements that fail, other than by mistakes of the application."""
    by = f" by ({by})" if by else ""
    return f"sum{by} (rate({FAULTS}@rate)) / sum{by} (rate(gatekeeper_statements_total{{@path}}@rate))"


def quantile(q, metric, selector, by=""):
    """A quantile of a histogram, by more labels than its bounds if wanted."""
    by = f"{by}, le" if by else "le"
    return f"histogram_quantile({q}, sum by ({by}) (rate({metric}_bucket{{{selector}}}@rate)))"
