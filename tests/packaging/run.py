"""Runs a linter and returns the output as lines."""

import subprocess
import sys
from pathlib import Path


def tool(name: str) -> str:
    """A program of `.ci/packaging-tools`."""
    return str(Path(sys.executable).parent / name)


def findings(*command: str | Path, cwd: Path | None = None) -> list[str]:
    """Empty without findings; otherwise the output."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=cwd)
    if done.returncode == 0:
        return []
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines or [f"{command[0]} ended with {done.returncode}"]


def seconds(text: str) -> float:
    """`90s`, `1m`, `0`."""
    units = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600}
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    return float(number) * units.get(text[len(number):], 1)
