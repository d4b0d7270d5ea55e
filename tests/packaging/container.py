"""The Dockerfile: hadolint, and further rules. The image is not built, since that needs a container engine."""

import re
import tomllib
from pathlib import Path

from run import findings, tool

FILES = "config/Dockerfile"


def faults(root: Path) -> list[str]:
    dockerfile = root / FILES
    found = [f"hadolint: {line}" for line in findings(tool("hadolint"), dockerfile)]
    text = re.sub(r"\\\n", " ", dockerfile.read_text())
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    starts = [at for at, (word, _) in enumerate(lines) if word == "FROM"]
    build, last = lines[starts[0]:starts[-1]], lines[starts[-1]:]
    copies = [rest for word, rest in build if word == "COPY" and "--from=" not in rest]
    copied = [path for rest in copies for path in rest.split()[:-1] if not path.startswith("--")]
    found += [f"{FILES}: no `{path}` to copy" for path in copied if not (root / path).exists()]
    ignored = (root / f"{FILES}.dockerignore").read_text().splitlines()
    found += [f"{FILES}.dockerignore: `{path}` is copied and ignored" for path in copied if f"!{path}" not in ignored]
    found += [f"{FILES}: the last stage runs a command: {rest}" for word, rest in last if word == "RUN"]
    users = [rest for word, rest in last if word == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
        found.append(f"{FILES}: the last stage has no numeric user other than root")
    if "distroless" not in last[0][1] or "debug" in last[0][1]:
        found.append(f"{FILES}: the last stage may have a shell")
    found += [f"{FILES}: {word} is not a list of words, so that a shell would run the command"
              for word, rest in last if word in ("ENTRYPOINT", "CMD") and not rest.startswith("[")]
    checks = [rest for word, rest in last if word == "HEALTHCHECK"]
    if not checks or '["/usr/bin/gatekeeper", "healthcheck"]' not in checks[-1]:
        found.append(f"{FILES}: no HEALTHCHECK by `gatekeeper healthcheck`")
    if any("cargo build" in rest and "--no-default-features" not in rest for word, rest in build if word == "RUN"):
        found.append(f"{FILES}: the program is built with the feature `demo`")
    if any("cargo build" in rest and ".ci/split-debug /gatekeeper" not in rest for word, rest in build if word == "RUN"):
        found.append(f"{FILES}: the program is not stripped")
    return found + can_be_built(root, copied)


def can_be_built(root: Path, copied: list[str]) -> list[str]:
    """Every file named by the manifest must be copied: Cargo refuses to build if the file of a test is missing."""
    manifest = tomllib.loads((root / "Cargo.toml").read_text())
    named = ["src/main.rs", *manifest["workspace"]["members"]]
    for kind, folder in {"test": "tests", "bench": "benches", "example": "examples"}.items():
        named += [target.get("path", f"{folder}/{target['name']}.rs") for target in manifest.get(kind, [])]
    inside = lambda path: any(path == there or path.startswith(there + "/") for there in copied)  # noqa: E731
    return [f"{FILES}: the copied files cannot be built: no `{path}`" for path in named if not inside(path)]
