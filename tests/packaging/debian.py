"""The Debian package: checks without a build."""

import tomllib
from pathlib import Path

from run import findings

FILES = ("config/debian", "Cargo.toml")


def faults(root: Path) -> list[str]:
    deb = tomllib.loads((root / "Cargo.toml").read_text())["package"]["metadata"]["deb"]
    found, installed = [], set()
    for source, target, mode in deb["assets"]:
        if not source.startswith("target/") and not any(root.glob(source)):
            found.append(f"Cargo.toml: the package's `{source}` does not exist")
        if int(mode, 8) & 0o022:
            found.append(f"Cargo.toml: others may write the package's `{source}`")
        installed.add("/" + (target + Path(source).name if target.endswith("/") else target))
    if "/usr/lib/debug/usr/bin/gatekeeper.debug" not in installed:
        found.append("Cargo.toml: the debug information of /usr/bin/gatekeeper is not installed")
    found += [f"Cargo.toml: `{file}` is a configuration file that is not installed"
              for file in deb["conf-files"] if file not in installed]
    found += [f"Cargo.toml: `{file}` is overwritten by an upgrade"
              for file in installed if file.startswith("/etc/") and file not in deb["conf-files"]]
    unit = (root / "config/systemd/gatekeeper.service").read_text()
    for named in ("/usr/bin/gatekeeper", "/etc/gatekeeper/gatekeeper.toml", "/etc/default/gatekeeper",
                  "/usr/share/doc/gatekeeper/README.md"):
        if named in unit and named not in installed:
            found.append(f"config/systemd: the unit names `{named}`, which the package does not install")
    for script in ("postinst", "postrm"):
        path = root / deb["maintainer-scripts"] / script
        found += [f"{path.name}: {line}" for line in findings("sh", "-n", path)]
        if "#DEBHELPER#" not in path.read_text():
            found.append(f"{path.name}: no #DEBHELPER#, so that the unit is not registered")
    return found
