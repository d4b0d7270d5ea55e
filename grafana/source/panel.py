"""Panels. The description of each panel states the content, the unit and the action."""

from .words import BAD, DOUBTFUL, GOOD, ROLES, spell_out

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def query(expr, legend="", *, instant=False, form="time_series"):
    """A query of a panel; `legend` names the series by labels: `{{endpoint}}`."""
    return {"expr": spell_out(expr), "legendFormat": legend or "__auto", "instant": instant, "range": not instant,
            "format": form, "datasource": DATASOURCE, "editorMode": "code"}


def now(expr, form="time_series"):
    """A query for the last value alone."""
    return query(expr, instant=True, form=form)


def limits(doubtful=None, bad=None):
    """Green, then orange from `doubtful` and red from `bad` on."""
    steps = [{"color": GOOD, "value": None}]
    if doubtful is not None:
        steps.append({"color": DOUBTFUL, "value": doubtful})
    if bad is not None:
        steps.append({"color": BAD, "value": bad})
    return steps


def floor(doubtful=None, bad=None):
    """Green above, orange below `doubtful` and red below `bad`: for remaining time and counts."""
    steps = [{"color": BAD if bad is not None else DOUBTFUL, "value": None}]
    if bad is not None and doubtful is not None:
        steps.append({"color": DOUBTFUL, "value": bad})
    steps.append({"color": GOOD, "value": doubtful if doubtful is not None else bad})
    return steps


def exactly(right):
    """Green at `right`, red at all other values."""
    return [{"color": BAD, "value": None}, {"color": GOOD, "value": right}, {"color": BAD, "value": right + 1}]


def states(table):
    """Texts and colors for numbers."""
    options = {str(number): {"text": text, "color": color, "index": number} for number, (text, color) in table.items()}
    return [{"type": "value", "options": options}]


# === parts of all panels ===

def _panel(kind, title, shows, do, unit, targets, *, options, custom=None, steps=None, mappings=None, overrides=None,
           more=None, **defaults):
    for at, target in enumerate(targets):
        target["refId"] = "ABCDEFGHIJKL"[at]
    color = {"mode": "palette-classic"} if kind == "timeseries" else {"mode": "thresholds"}
    return {
        "type": kind,
        "title": title,
        "description": f"{shows}\n\n**What to do:** {do}",
        "datasource": DATASOURCE,
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                "color": color,
                "thresholds": {"mode": "absolute", "steps": steps or [{"color": GOOD, "value": None}]},
                "mappings": mappings or [],
                "custom": custom or {},
                **defaults,
            },
            "overrides": overrides or [],
        },
        "options": options,
        "targets": targets,
        **(more or {}),
    }


def _painted(pattern, color, shades=False):
    color = {"mode": "shades" if shades else "fixed", "fixedColor": color}
    return {"matcher": {"id": "byRegexp", "options": pattern}, "properties": [{"id": "color", "value": color}]}


def _by_role():
    """Colors series by the role at the end of the legend, in a different shade for each series."""
    return [_painted(f"/(^| · ){role}$/", color, shades=True) for role, color in ROLES.items()]


# === kinds of panels ===

def stat(title, shows, do, unit, expr, steps, *, mappings=None, decimals=None):
    """A single number on a background in the color of the threshold."""
    options = {"colorMode": "background", "graphMode": "area", "justifyMode": "center", "textMode": "value",
               "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    more = {} if decimals is None else {"decimals": decimals}
    return _panel("stat", title, shows, do, unit, [query(expr)], options=options, steps=steps, mappings=mappings, **more)


def lines(title, shows, do, unit, *targets, steps=None, stacked=False, bars=False, colors=None, top=None, log=False):
    """Series over time; `colors` by legend. `dashboard` turns the legend of a wide panel into a table."""
    custom = {
        "drawStyle": "bars" if bars else "line", "lineWidth": 1 if bars else 2, "showPoints": "never",
        "fillOpacity": 60 if bars else 25 if stacked else 0 if log else 8, "spanNulls": False, "axisSoftMin": 0,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "scaleDistribution": {"type": "log", "log": 10} if log else {"type": "linear"},
        "thresholdsStyle": {"mode": "dashed" if steps else "off"},
    }
    dashed = {"matcher": {"id": "byRegexp", "options": "/: limit$/"}, "properties": [
        {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [6, 4]}}, {"id": "custom.fillOpacity", "value": 0}]}
    painted = [_painted(f"/^{legend}$/", color) for legend, color in (colors or {}).items()]
    options = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull"]},
               "tooltip": {"mode": "multi", "sort": "desc"}}
    more = {} if top is None else {"max": top}
    if not log:
        more["min"] = 0
    return _panel("timeseries", title, shows, do, unit, list(targets), options=options, custom=custom, steps=steps,
                  overrides=[*_by_role(), *painted, dashed], **more)


def timeline(title, shows, do, expr, table, legend="{{endpoint}}"):
    """A bar for each series, colored by the value."""
    options = {"showValue": "auto", "rowHeight": 0.85, "mergeValues": True, "alignValue": "left",
               "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
               "tooltip": {"mode": "single"}}
    return _panel("state-timeline", title, shows, do, "none", [query(expr, legend)], options=options,
                  custom={"lineWidth": 0, "fillOpacity": 85}, mappings=states(table))


def heatmap(title, shows, do, metric, selector):
    """Distribution of durations over time."""
    options = {
        "calculate": False, "cellGap": 1, "filterValues": {"le": 1e-9},
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "reverse": False},
        "yAxis": {"unit": "s", "axisPlacement": "left"}, "rowsFrame": {"layout": "auto"},
        "legend": {"show": True}, "tooltip": {"mode": "single", "yHistogram": False},
    }
    target = query(f"sum by (le) (increase({metric}_bucket{{{selector}}}@rate))", "{{le}}", form="heatmap")
    return _panel("heatmap", title, shows, do, "s", [target], options=options)


def table(title, shows, do, key, columns, *, hidden=(), sort=None, link=None):
    """A row for each value of the label `key`; a column is `(name, query, unit, look)`.

    The other labels of the first column become further columns, except the `hidden` labels.
    """
    targets = [now(expr, form="table") for _, expr, _, _ in columns]
    names = {f"Value #{'ABCDEFGHIJKL'[at]}": name for at, (name, _, _, _) in enumerate(columns)}
    overrides = []
    for name, _, unit, look in columns:
        properties = [{"id": "unit", "value": unit}]
        for setting, value in (look or {}).items():
            if setting == "steps":
                properties.append({"id": "thresholds", "value": {"mode": "absolute", "steps": value}})
            elif setting == "mappings":
                properties.append({"id": "mappings", "value": value})
        if look:
            properties.append({"id": "custom.cellOptions", "value": {"type": "color-background", "mode": "basic"}})
        overrides.append({"matcher": {"id": "byName", "options": name}, "properties": properties})
    if link:
        overrides.append({"matcher": {"id": "byName", "options": key}, "properties": [{"id": "links", "value": [link]}]})
    exclude = {name: True for name in hidden}
    exclude.update({f"Time {at}": True for at in range(1, len(columns) + 1)} | {"Time": True})
    transformations = [
        {"id": "joinByField", "options": {"byField": key, "mode": "outer"}},
        {"id": "organize", "options": {"excludeByName": exclude, "renameByName": {"backend_role": "declared", **names}, "indexByName": {key: 0}}},
    ]
    options = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}}
    if sort:
        options["sortBy"] = [{"displayName": sort, "desc": True}]
    return _panel("table", title, shows, do, "short", targets, options=options, overrides=overrides,
                  custom={"align": "auto", "filterable": False}, more={"transformations": transformations})
