"""Formats numbers with units, and maps numbers to texts and colors."""

import math


def number(value, digits=3):
    if value == 0:
        return "0"
    if abs(value) >= 10 ** digits or float(value).is_integer():
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def seconds(value):
    size = abs(value)
    for limit, divisor, unit in ((1e-3, 1e-6, "µs"), (1, 1e-3, "ms"), (90, 1, "s"), (5400, 60, "min"), (172800, 3600, "h")):
        if size < limit:
            return f"{number(value / divisor)} {unit}"
    for limit, divisor, unit in ((86400 * 14, 86400, "days"), (86400 * 60, 86400 * 7, "weeks"), (86400 * 730, 86400 * 30.4, "months")):
        if size < limit:
            return f"{number(value / divisor)} {unit}"
    return f"{number(value / 86400 / 365.25)} years"


def scaled(value, unit):
    for prefix in ("", "k", "M", "G"):
        if abs(value) < 1000:
            return f"{number(value)} {prefix}{unit}"
        value /= 1000
    return f"{number(value)} T{unit}"


def binary(value):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{number(value)} {unit}"
        value /= 1024
    return f"{number(value)} TiB"


def shown(value, unit, decimals=None):
    if value is None or math.isnan(value):
        return "–"
    if decimals is not None:
        value = round(value, decimals + (2 if unit == "percentunit" else 0))
    match unit:
        case "s":
            return "0 s" if value == 0 else seconds(value)
        case "percentunit":
            return f"{number(value * 100)} %"
        case "bytes" | "Bps":
            return binary(value) if unit == "bytes" else scaled(value, "B/s")
        case "reqps" | "ops" | "cps" | "wps":
            return scaled(value, {"reqps": "req/s", "ops": "ops/s", "cps": "c/s", "wps": "wr/s"}[unit])
    return number(round(value, 3))


def mapped(value, mappings):
    for mapping in mappings:
        option = mapping["options"].get(str(int(value))) if not math.isnan(value) else None
        if option:
            return option["text"], option["color"]
    return None


def judged(value, thresholds):
    color = thresholds["steps"][0]["color"]
    for step in thresholds["steps"][1:]:
        if value >= step["value"]:
            color = step["color"]
    return color
