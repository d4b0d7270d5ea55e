"""What looks the same everywhere: colours of roles and states, and the abbreviations of queries."""

PRIMARY, READ_POOL, SECONDARY = "#3274D9", "#14A3B8", "#A352CC"
GOOD, DOUBTFUL, BAD, UNKNOWN = "#3D9C4A", "#FF9830", "#E02F44", "#8E8E8E"

# By `backend_role`, the declared role, word for word.
ROLES = {"primary": PRIMARY, "read-pool": READ_POOL, "replica": READ_POOL, "secondary": SECONDARY}

# What an endpoint is, as one number, worst last.
STATES = {
    0: ("unknown", UNKNOWN),
    1: ("primary", PRIMARY),
    2: ("read pool", READ_POOL),
    3: ("secondary", SECONDARY),
    4: ("standby, but declared primary", DOUBTFUL),
    5: ("PRIMARY, but not declared so", DOUBTFUL),
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


def quantile(q, metric, selector, by=""):
    """A quantile of a histogram, by more labels than its bounds if wanted."""
    by = f"{by}, le" if by else "le"
    return f"histogram_quantile({q}, sum by ({by}) (rate({metric}_bucket{{{selector}}}@rate)))"
