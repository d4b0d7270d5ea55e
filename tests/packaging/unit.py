"""The systemd units: systemd's checks, a limit on the exposure level, and time to drain."""

import configparser
import re
import sys
import tempfile
import tomllib
from pathlib import Path

from run import findings, seconds

FILES = "config/systemd"
# Exposure level of `systemd-analyze security`, at most 10. Most of the remaining exposure is access to the network.
EXPOSURE = 1.5
# Time between the drain and the exit: final messages to clients, and the audit log.
SHUTDOWN_SECONDS = 5


def faults(root: Path) -> list[str]:
    folder = root / FILES
    service = folder / "gatekeeper.service"
    found = []
    with tempfile.TemporaryDirectory() as copy:
        for unit in (service, folder / "gatekeeper.socket"):
            # systemd requires an installed program: Python replaces Gatekeeper.
            text = unit.read_text().replace("/usr/bin/gatekeeper", sys.executable)
            (Path(copy) / unit.name).write_text(text)
        units = [Path(copy) / "gatekeeper.service", Path(copy) / "gatekeeper.socket"]
        # Warnings do not change the exit code, but count as mistakes.
        lines = findings("sh", "-c", 'systemd-analyze verify --man=no "$@" 2>&1 | grep gatekeeper && exit 1 || exit 0', "sh", *units)
        found += [f"{FILES}: {line}" for line in lines]
        limit = f"--threshold={round(EXPOSURE * 10)}"
        lines = findings("systemd-analyze", "security", "--no-pager", "--offline=yes", limit, units[0])
        found += [f"{FILES}: {line.strip()}" for line in lines if "exposure level" in line]
    # A key may stand several times.
    settings = re.findall(r"^(\w+)=(.*)$", service.read_text(), re.M)
    stop = max((seconds(value) for key, value in settings if key == "TimeoutStopSec"), default=90)
    runtime = tomllib.loads((root / "config/debian/gatekeeper.toml").read_text())["runtime"]
    drain = seconds(runtime.get("drain_delay", "0")) + seconds(runtime.get("drain_timeout", "30s"))
    if stop < drain + SHUTDOWN_SECONDS:
        found.append(f"{FILES}: systemd kills after {stop:.0f} s, and draining may take {drain + SHUTDOWN_SECONDS:.0f} s")
    socket = configparser.ConfigParser()
    socket.read(folder / "gatekeeper.socket")
    binds = {it["bind"] for it in tomllib.loads((root / "config/debian/gatekeeper.toml").read_text())["listener"]}
    if socket["Socket"]["ListenStream"] not in binds:
        found.append(f"{FILES}: the socket's address is not that of a listener in the package's configuration")
    return found
