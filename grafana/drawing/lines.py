"""Series over time: lines, bars, stacks, with limits and legends."""

import math

from .canvas import FAINT, LINE, below, colored, legend, nothing, time_axis
from .numbers import shown


def draw_lines(canvas, panel, prometheus):
    config, custom = panel["fieldConfig"]["defaults"], panel["fieldConfig"]["defaults"]["custom"]
    all_series = []
    for target in panel["targets"]:
        for labels, points in prometheus.query(target):
            points = [(t, v) for t, v in points if math.isfinite(v)]
            if points:
                all_series.append((legend(target, labels), points))
    if not all_series:
        return nothing(canvas)
    colors = colored([name for name, _ in all_series], panel["fieldConfig"]["overrides"])
    beside = panel["options"]["legend"]["placement"] == "right"
    wide = max(110, min(canvas.width * 0.42, max(len(name) for name, _ in all_series) * 6.4 + 185)) if beside else 0
    places = [] if beside else below([f"{name}  {shown(points[-1][1], config['unit'])}" for name, points in all_series], canvas)
    under = (places[-1][1] + 1) * 16 + 4 if places else 0
    right, top, bottom = canvas.width - wide - 10, 40, canvas.height - 26 - under
    stacked = custom["stacking"]["mode"] == "normal"
    log = custom["scaleDistribution"]["type"] == "log"
    base, curves = {}, []
    for name, points in all_series:
        curve = []
        for t, v in points:
            low = base.get(t, 0.0) if stacked else 0.0
            curve.append((t, low, low + v))
            if stacked:
                base[t] = low + v
        curves.append(curve)
    highest = max(high for curve in curves for _, _, high in curve)
    marks = [step["value"] for step in config["thresholds"]["steps"] if step["value"] is not None]
    if custom["thresholdsStyle"]["mode"] != "off" and marks and highest > marks[0] * 0.3:
        highest = max(highest, min(m for m in marks) * 1.1)
    highest = config.get("max", highest * 1.05) or 1
    lowest = 0
    if log:
        positive = [high for curve in curves for _, _, high in curve if high > 0]
        lowest = math.floor(math.log10(min(positive))) if positive else -3
        highest = math.ceil(math.log10(highest)) if highest > 0 else 0
        highest = max(highest, lowest + 1)

    ticks = 4 if canvas.height > 220 else 3
    values = [lowest + (highest - lowest) * tick / ticks for tick in range(ticks + 1)]
    labels = [shown(10 ** value if log else value, config["unit"]) for value in values]
    left = max(62, max(map(len, labels)) * 5.8 + 10)

    def at(t, v):
        v = max((math.log10(v) if v > 0 else lowest) if log else v, lowest)
        return (left + (right - left) * (t - prometheus.start) / (prometheus.end - prometheus.start),
                bottom - (bottom - top) * (v - lowest) / (highest - lowest))

    for tick, label in enumerate(labels):
        y = bottom - (bottom - top) * tick / ticks
        canvas.path(f"M{left:.1f} {y:.1f} H{right:.1f}", LINE, width=1)
        canvas.text(left - 6, y + 4, label, size=10, color=FAINT, anchor="end")
    time_axis(canvas, left, right, bottom, prometheus)
    bars = custom["drawStyle"] == "bars"
    for (name, _), curve, color in zip(all_series, curves, colors):
        if bars:
            width = max(1.5, (right - left) * prometheus.step / (prometheus.end - prometheus.start) * 0.8)
            for t, low, high in curve:
                if high > low:
                    x, y = at(t, high)
                    canvas.box(x - width / 2, y, width, at(t, low)[1] - y, color, opacity=0.8)
            continue
        runs, last = [[]], None
        for point in curve:
            if last is not None and point[0] - last > prometheus.step * 1.5:
                runs.append([])
            runs[-1].append(point)
            last = point[0]
        for run in runs:
            upper = " L".join("{:.1f} {:.1f}".format(*at(t, high)) for t, _, high in run)
            lower = " L".join("{:.1f} {:.1f}".format(*at(t, low)) for t, low, _ in reversed(run))
            limit = name.endswith(": limit")
            if not limit:
                canvas.path(f"M{upper} L{lower} Z", "none", fill=color, opacity=custom["fillOpacity"] / 100)
            canvas.path(f"M{upper}", color, width=1.8, dash="6 4" if limit else "")
    if custom["thresholdsStyle"]["mode"] != "off":
        for step in config["thresholds"]["steps"][1:]:
            if lowest < step["value"] < highest:
                y = at(prometheus.start, step["value"])[1]
                canvas.path(f"M{left:.1f} {y:.1f} H{right:.1f}", step["color"], width=1.2, dash="6 4")
    for (x, row, words), color in zip(places, colors):
        y = bottom + 36 + row * 16
        canvas.box(x, y - 8, 10, 4, color, radius=2)
        canvas.text(x + 15, y, words, size=11, width=canvas.width - 30)
    if not beside:
        return None
    x = right + 14
    canvas.text(canvas.width - 82, top - 2, "last", size=10, color=FAINT, anchor="end")
    canvas.text(canvas.width - 10, top - 2, "max", size=10, color=FAINT, anchor="end")
    for at_row, ((name, points), color) in enumerate(zip(all_series, colors)):
        y = top + 14 + at_row * 17
        if y > canvas.height - 6:
            canvas.text(x, y - 5, f"… {len(all_series) - at_row} more", size=10, color=FAINT)
            break
        canvas.box(x, y - 8, 10, 4, color, radius=2)
        canvas.text(x + 15, y, name, size=11, width=canvas.width - 145 - x - 15)
        canvas.text(canvas.width - 82, y, shown(points[-1][1], config["unit"]), size=10, anchor="end")
        canvas.text(canvas.width - 10, y, shown(max(v for _, v in points), config["unit"]), size=10, anchor="end")
