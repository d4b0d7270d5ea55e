"""The Cloud Run service: yamllint, and consistency of both containers with each other and Cloud Run's limits."""

import json
from pathlib import Path

import yaml

from run import findings, seconds, tool

FILES = "config/cloudrun"
# Between SIGTERM and SIGKILL: https://cloud.google.com/run/docs/container-contract
GRACE = 10
SHUTDOWN_SECONDS = 5


def faults(root: Path) -> list[str]:
    file = root / FILES / "service.yaml"
    rules = "{extends: default, rules: {line-length: {max: 140}}}"
    found = [f"yamllint: {line}" for line in findings(tool("yamllint"), "--strict", "-d", rules, file)]
    if found:
        return found
    template = yaml.safe_load(file.read_text())["spec"]["template"]
    spec, annotations = template["spec"], template["metadata"]["annotations"]
    application, gatekeeper = spec["containers"]
    variables = {item["name"]: item.get("value") for item in gatekeeper["env"]}
    value = lambda name: variables.get(name) or ""  # noqa: E731
    if value("GATEKEEPER_BACKEND_PASSWORD") or "GATEKEEPER_BACKEND_IAM" not in variables:
        found.append("service.yaml: a static password logs in, instead of a Google token")
    account = spec["serviceAccountName"].removesuffix(".gserviceaccount.com")
    if value("GATEKEEPER_BACKEND_TOKEN_USERS") != account:
        found.append("service.yaml: the users are not the one user of the service's tokens")
    listener = f"{value('GATEKEEPER_LISTEN_HOST')}:{value('GATEKEEPER_LISTEN_PORT')}"
    if not listener.startswith("127.0.0.1:"):
        found.append("service.yaml: the listener is not on loopback")
    if not all(f"@{listener}/" in item["value"] for item in application["env"] if item["name"] == "DATABASE_URL"):
        found.append(f"service.yaml: the application does not connect to {listener}")
    if "ports" in gatekeeper or [port["containerPort"] for port in application["ports"]] == [int(value("GATEKEEPER_API_PORT"))]:
        found.append("service.yaml: requests to the service reach Gatekeeper, or two containers use the same port")
    if json.loads(annotations["run.googleapis.com/container-dependencies"]) != {application["name"]: [gatekeeper["name"]]}:
        found.append("service.yaml: the application does not wait for Gatekeeper")
    if annotations.get("run.googleapis.com/cpu-throttling") != "false":
        found.append("service.yaml: without a processor between requests, Gatekeeper cannot maintain the pools")
    for probe, path in {"startupProbe": "/readyz", "livenessProbe": "/livez"}.items():
        get = gatekeeper[probe]["httpGet"]
        if (get["path"], str(get["port"])) != (path, value("GATEKEEPER_API_PORT")):
            found.append(f"service.yaml: {probe} does not request {path} from the admin port")
    if value("GATEKEEPER_API_OPEN_HEALTH") != "true":
        found.append("service.yaml: probes have no key, and health requires a key")
    drain = seconds(value("GATEKEEPER_DRAIN_TIMEOUT") or "30s") + SHUTDOWN_SECONDS
    if drain > GRACE:
        found.append(f"service.yaml: Cloud Run kills after {GRACE} s, and draining may take {drain:.0f} s")
    mounts = [mount["mountPath"] for mount in gatekeeper["volumeMounts"]]
    if not any(value("GATEKEEPER_BACKEND_TLS_CA_FILE").startswith(mount + "/") for mount in mounts):
        found.append("service.yaml: the CA is not on a volume")
    return found
