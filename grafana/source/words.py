"""Colors of roles and states, and abbreviations in queries."""

PRIMARY, READ_POOL, SECONDARY = "#3274D9", "#14A3B8", "#A352CC"
GOOD, DOUBTFUL, BAD, UNKNOWN = "#3D9C4A", "#FF9830", "#E02F44", "#8E8E8E"

# Colors by `backend_role`, the declared role, with the label's exact values.
ROLES = {"primary": PRIMARY, "read-pool": READ_POOL, "replica": READ_POOL, "secondary": SECONDARY}

# Colors by kind of topology change.
CHANGES = {"up": GOOD, "down": BAD, "role": "#8AB8FF", "node": UNKNOWN, "mismatch": DOUBTFUL, "writer": "#F2CC0C",
           "two_writers": "#E83E8C", "fenced": "#B877D9", "replay": "#FF780A"}

# State of an endpoint as a number, worst last. Demoted: a standby that is declared primary; promoted: the reverse.
STATES = {
    0: ("unknown", UNKNOWN),
    1: ("primary", PRIMARY),
    2: ("read pool", READ_POOL),
    3: ("secondary", SECONDARY),
    4: ("demoted", DOUBTFUL),
    5: ("promoted", DOUBTFUL),
    6: ("DOWN", BAD),
}

# The first true line is the state of an endpoint; the last line is always true.
STATE = """
  6 * max by (endpoint) (gatekeeper_endpoint_health{@endpoint, state="down"} == 1)
or 5 * max by (endpoint) (gatekeeper_endpoint_role{@endpoint, role="primary", backend_role!="primary"} == 1)
or 4 * max by (endpoint) (gatekeeper_endpoint_role{@endpoint, role="standby", backend_role="primary"} == 1)
or 3 * max by (endpoint) (gatekeeper_endpoint_role{@endpoint, role="standby", backend_role="secondary"} == 1)
or 2 * max by (endpoint) (gatekeeper_endpoint_role{@endpoint, role="standby"} == 1)
or 1 * max by (endpoint) (gatekeeper_endpoint_role{@endpoint, role="primary"} == 1)
or 0 * max by (endpoint) (gatekeeper_endpoint_info{@endpoint} == 1)
"""

# Number of topology changes. Prometheus extrapolates increases, so that a single change would be 1.14 without rounding.
CHANGED = "round(sum by (kind) (increase(gatekeeper_topology_changes_total{@all}@rate)))"

# Errors, except mistakes of the application in SQL and data.
FAULTS = 'gatekeeper_statement_errors_total{@path, sqlstate_class!~"22|23|42|P0"}'

# Abbreviations that contain further abbreviations come first.
ABBREVIATIONS = {
    "@endpoint": '@all, endpoint=~"$endpoint"',
    "@listener": '@all, listener=~"$listener"',
    "@path": '@all, listener=~"$listener", endpoint=~"$endpoint"',
    "@all": 'job=~"$job", instance=~"$instance"',
    "@rate": "[$__rate_interval]",
}


def spell_out(query):
    """The query without abbreviations and without indentation."""
    for short, long in ABBREVIATIONS.items():
        query = query.replace(short, long)
    return "\n".join(line.strip() for line in query.strip().splitlines())


def error_ratio(by=""):
    """Share of statements that failed, except by mistakes of the application."""
    by = f" by ({by})" if by else ""
    return f"sum{by} (rate({FAULTS}@rate)) / sum{by} (rate(gatekeeper_statements_total{{@path}}@rate))"


def quantile(q, metric, selector, by=""):
    """Quantile `q` of a histogram, by the labels in `by` as well."""
    by = f"{by}, le" if by else "le"
    return f"histogram_quantile({q}, sum by ({by}) (rate({metric}_bucket{{{selector}}}@rate)))"
