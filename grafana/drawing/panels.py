"""Stats, timelines, heatmaps and tables."""

import math

from .canvas import FAINT, LINE, PALETTE, TEXT, legend, nothing, time_axis
from .numbers import judged, mapped, number, shown


def draw_stat(canvas, panel, prometheus):
    config = panel["fieldConfig"]["defaults"]
    series = [points for _, points in prometheus.query(panel["targets"][0])]
    points = [point for point in (series[0] if series else []) if not math.isnan(point[1])]
    if not points:
        return nothing(canvas)
    value = points[-1][1]
    known = mapped(value, config["mappings"])
    words, color = known or (shown(value, config["unit"], config.get("decimals")), judged(value, config["thresholds"]))
    canvas.box(6, 30, canvas.width - 12, canvas.height - 36, color, radius=3)
    highest = max(v for _, v in points) or 1
    lowest = min(0, min(v for _, v in points))
    steps = [(6 + (canvas.width - 12) * (t - prometheus.start) / (prometheus.end - prometheus.start),
              canvas.height - 8 - (canvas.height - 60) * 0.6 * (v - lowest) / ((highest - lowest) or 1)) for t, v in points]
    line = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in steps)
    canvas.path(f"{line} L{steps[-1][0]:.1f} {canvas.height - 6} L{steps[0][0]:.1f} {canvas.height - 6} Z", "none",
                fill="#FFFFFF", opacity=0.16)
    canvas.text(canvas.width / 2, 30 + (canvas.height - 36) / 2 + 10, words, size=28, color="#FFFFFF", anchor="middle", weight="600")


def draw_timeline(canvas, panel, prometheus):
    config = panel["fieldConfig"]["defaults"]
    target = panel["targets"][0]
    series = [(legend(target, labels), points) for labels, points in prometheus.query(target)]
    if not series:
        return nothing(canvas)
    series.sort(key=lambda it: it[0])
    left, right, top, bottom = max(len(name) for name, _ in series) * 7 + 24, canvas.width - 12, 38, canvas.height - 44
    height = (bottom - top) / len(series)
    seen = {}
    for row, (name, points) in enumerate(series):
        y = top + row * height
        canvas.text(left - 8, y + height / 2 + 4, name, size=12, anchor="end")
        pieces = []
        for t, v in points:
            if pieces and pieces[-1][2] == v and t - pieces[-1][1] <= prometheus.step * 1.5:
                pieces[-1][1] = t
            else:
                pieces.append([t, t, v])
        for begin, end, value in pieces:
            words, color = mapped(value, config["mappings"]) or (number(value), PALETTE[0])
            seen[words] = color
            x, end = (left + (right - left) * (t - prometheus.start) / (prometheus.end - prometheus.start)
                      for t in (begin, min(end + prometheus.step, prometheus.end)))
            canvas.box(x, y + height * 0.08, end - x, height * 0.84, color, opacity=0.9)
            if end - x > len(words) * 7:
                canvas.text((x + end) / 2, y + height / 2 + 4, words, size=11, color="#FFFFFF", anchor="middle")
    time_axis(canvas, left, right, bottom, prometheus)
    x = left
    for words, color in seen.items():
        canvas.box(x, canvas.height - 17, 10, 10, color, radius=2)
        canvas.text(x + 15, canvas.height - 8, words, size=11)
        x += len(words) * 6.6 + 40


def draw_heatmap(canvas, panel, prometheus):
    rows = []
    for labels, points in prometheus.query(panel["targets"][0]):
        rows.append((float(labels["le"]), dict(points)))
    rows.sort(key=lambda row: row[0])
    if not rows:
        return nothing(canvas)
    left, right, top, bottom = 66, canvas.width - 12, 38, canvas.height - 26
    height = (bottom - top) / len(rows)
    moments = sorted(rows[-1][1])
    width = (right - left) * prometheus.step / (prometheus.end - prometheus.start)
    below, cells = {}, []
    for at, (bound, counts) in enumerate(rows):
        for t in moments:
            inside = counts.get(t, 0) - below.get(t, 0)
            if inside > 0:
                cells.append((t, at, inside))
        below = counts
        label = "∞" if math.isinf(bound) else shown(bound, "s")
        if len(rows) < 12 or at % 2:
            canvas.text(left - 6, bottom - at * height - height / 2 + 4, label, size=10, color=FAINT, anchor="end")
    most = max((inside for _, _, inside in cells), default=1)
    for t, at, inside in cells:
        strength = (inside / most) ** 0.5
        x = left + (right - left) * (t - prometheus.start) / (prometheus.end - prometheus.start)
        canvas.box(x, bottom - (at + 1) * height + 0.5, width + 0.3, height - 1, "#FF9830", opacity=0.12 + 0.88 * strength)
    time_axis(canvas, left, right, bottom, prometheus)


def draw_table(canvas, panel, prometheus):
    key = panel["transformations"][0]["options"]["byField"]
    organize = panel["transformations"][1]["options"]
    looks = {it["matcher"]["options"]: {p["id"]: p["value"] for p in it["properties"]} for it in panel["fieldConfig"]["overrides"]}
    rows, columns = {}, [key]
    for at, target in enumerate(panel["targets"]):
        field = f"Value #{target['refId']}"
        for labels, points in prometheus.query(target):
            row = rows.setdefault(labels[key], {key: labels[key]})
            for label, value in labels.items():
                if label not in columns and label != key:
                    columns.append(label)
                row.setdefault(label, value)
            row[organize["renameByName"].get(field, field)] = points[-1][1]
        name = organize["renameByName"].get(field, field)
        if field not in organize["excludeByName"] and name not in columns:
            columns.append(name)
    order = panel["options"].get("sortBy")
    ordered = sorted(rows.values(), key=lambda row: row[key])
    if order:
        ordered.sort(key=lambda row: row.get(order[0]["displayName"], -1), reverse=order[0]["desc"])
    wide = (canvas.width - 20) / len(columns)
    for at, name in enumerate(columns):
        canvas.text(14 + at * wide, 50, organize["renameByName"].get(name, name), size=12, color="#6E9FFF", weight="600", width=wide - 8)
    for at_row, row in enumerate(ordered):
        y = 60 + at_row * 32
        canvas.path(f"M10 {y} H{canvas.width - 10}", LINE, width=1)
        for at, name in enumerate(columns):
            value, look = row.get(name), looks.get(name, {})
            color = None
            if isinstance(value, float):
                if math.isnan(value):
                    words = "–"
                else:
                    known = mapped(value, look.get("mappings", []))
                    words = known[0] if known else shown(value, look.get("unit", "short"))
                    if "custom.cellOptions" in look:
                        color = known[1] if known else judged(value, look["thresholds"])
            else:
                words = value or "–"
            if color:
                canvas.box(10 + at * wide, y + 2, wide - 4, 28, color, opacity=0.95, radius=2)
            canvas.text(16 + at * wide, y + 20, words, size=13, color="#FFFFFF" if color else TEXT, width=wide - 14)
