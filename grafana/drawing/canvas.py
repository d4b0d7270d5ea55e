"""The canvas of a panel, and parts that several kinds of panels share."""

import html
import math
import re
import time

PALETTE = ["#73BF69", "#F2CC0C", "#8AB8FF", "#FF780A", "#F2495C", "#5794F2", "#B877D9", "#96D98D", "#FFA6B0", "#CA95E5"]
TEXT, FAINT, LINE, GROUND, PANEL = "#CCCCDC", "#8E8E99", "#34343B", "#111217", "#181B1F"


class Canvas:
    def __init__(self, width, height):
        self.width, self.height, self.parts = width, height, []

    def text(self, x, y, words, *, size=12, color=TEXT, anchor="start", weight="normal", width=None):
        if width:
            words = words if len(words) * size * 0.56 <= width else words[:max(1, int(width / size / 0.56) - 1)] + "…"
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" text-anchor="{anchor}" '
                          f'font-weight="{weight}">{html.escape(words)}</text>')

    def box(self, x, y, w, h, color, *, opacity=1, radius=0):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(w, 0):.1f}" height="{max(h, 0):.1f}" rx="{radius}" '
                          f'fill="{color}" fill-opacity="{opacity}"/>')

    def path(self, d, color, *, width=0, fill="none", opacity=1, dash=""):
        self.parts.append(f'<path d="{d}" stroke="{color}" stroke-width="{width}" fill="{fill}" fill-opacity="{opacity}" '
                          f'stroke-dasharray="{dash}" stroke-linejoin="round"/>')


def nothing(canvas):
    canvas.text(canvas.width / 2, canvas.height / 2 + 12, "No data", size=14, color=FAINT, anchor="middle")


def clock(moment):
    return time.strftime("%H:%M:%S", time.gmtime(moment))


def time_axis(canvas, left, right, bottom, prometheus):
    span = prometheus.end - prometheus.start
    step = next(s for s in (5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200) if span / s <= (right - left) / 75)
    moment = math.ceil(prometheus.start / step) * step
    while moment <= prometheus.end:
        x = left + (right - left) * (moment - prometheus.start) / span
        if left + 20 < x < right - 20:
            canvas.text(x, bottom + 15, clock(moment), size=10, color=FAINT, anchor="middle")
        moment += step


def legend(target, labels):
    if target["legendFormat"] == "__auto":
        return ", ".join(f"{k}={v}" for k, v in labels.items() if not k.startswith("__"))
    return re.sub(r"{{\s*(\w+)\s*}}", lambda match: labels.get(match[1], ""), target["legendFormat"])


def shade(color, at):
    """The color, lighter with each step of `at`."""
    parts = [int(color[i:i + 2], 16) for i in (1, 3, 5)]
    mix = min(0.22 * at, 0.66)
    return "#" + "".join(f"{round(part + (255 - part) * mix):02X}" for part in parts)


def colored(names, overrides):
    colors, used = [], {}
    for at, name in enumerate(names):
        color = PALETTE[at % len(PALETTE)]
        for override in overrides:
            if override["matcher"]["id"] != "byRegexp" or not re.search(override["matcher"]["options"].strip("/"), name):
                continue
            for it in override["properties"]:
                if it["id"] == "color":
                    fixed = it["value"]["fixedColor"]
                    color = fixed
                    if it["value"]["mode"] == "shades":
                        color = shade(fixed, used.get(fixed, 0))
                        used[fixed] = used.get(fixed, 0) + 1
        colors.append(color)
    return colors


def below(entries, canvas):
    """Position of each entry of a legend below a graph, in at most four rows."""
    places, x, row = [], 10, 0
    for words in entries:
        width = len(words) * 6.1 + 26
        if x > 10 and x + width > canvas.width - 6:
            x, row = 10, row + 1
        if row > 3:
            break
        places.append((x, row, words))
        x += width
    return places
