"""The systemd units: systemd's own checks, a limit on what an intruder would find, and time to drain."""

import configparser
import re
import sys
import tempfile
import tomllib
from pathlib import Path

from run import said, seconds

FILES = "config/systemd"
# What `systemd-analyze security` calls exposure: 10 is everything. Most of what is left is the network itself.
EXPOSURE = 1.5
# Between the drain and the end: last words, and the audit log.
LAST_WORDS = 5


def faults(root: Path) -> list[str]:
    folder = root / FILES
    service = folder / "gatekeeper.service"
    found = []
    with tempfile.TemporaryDirectory() as copy:
        for unit in (service, folder / "gatekeeper.socket"):
            # The program is not installed here: any that is stands in for it.
            text = unit.read_text().replace("/usr/bin/gatekeeper", sys.executable)
            (Path(copy) / unit.name).write_text(text)
        units = [Path(copy) / "gatekeeper.service", Path(copy) / "gatekeeper.socket"]
        # Warnings do not change the exit code, and are mistakes all the same.
        lines = said("sh", "-c", 'systemd-analyze verify --man=no "$@" 2>&1 | grep gatekeeper && exit 1 || exit 0', "sh", *units)
        found += [f"{FILES}: {line}" for line in lines]
        limit = f"--threshold={round(EXPOSURE * 10)}"
        lines = said("systemd-analyze", "security", "--no-pager", "--offline=yes", limit, units[0])
        found += [f"{FILES}: {line.strip()}" for line in lines if "exposure level" in line]
    # A key may stand several times.
    settings = re.findall(r"^(\w+)=(.*)$", service.read_text(), re.M)
    stop = max((seconds(value) for key, value in settings if key == "TimeoutStopSec"), default=90)
    runtime = tomllib.loads((root / "config/debian/gatekeeper.toml").read_text())["runtime"]
    drain = seconds(runtime.get("drain_delay", "0")) + seconds(runtime.get("drain_timeout", "30s"))
    if stop < drain + LAST_WORDS:
        found.append(f"{FILES}: systemd kills after {stop:.0f} s, and draining may take {drain + LAST_WORDS:.0f} s")
    socket = configparser.ConfigParser()
    socket.read(folder / "gatekeeper.socket")
    binds = {it["bind"] for it in tomllib.loads((root / "config/debian/gatekeeper.toml").read_text())["listener"]}
    if socket["Socket"]["ListenStream"] not in binds:
        found.append(f"{FILES}: the socket is that of no listener of the package's configuration")
    return found
