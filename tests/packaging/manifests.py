"""The Kubernetes manifests: yamllint, Kubernetes' schemas, and that they agree with each other, the configuration and the program."""

import re
import tomllib
from pathlib import Path

import yaml

from run import said, seconds, tool

FILES = "config/kubernetes"
# Kinds of which the schemas are elsewhere.
UNKNOWN = {"Kustomization", "PodMonitor"}
LAST_WORDS = 5


def faults(root: Path) -> list[str]:
    folder = root / FILES
    files = sorted(folder.glob("*.yaml"))
    rules = "{extends: default, rules: {line-length: {max: 140}}}"
    found = [f"yamllint: {line}" for line in said(tool("yamllint"), "--strict", "-d", rules, *files)]
    known, objects = [], {}
    for file in files:
        try:
            document = yaml.safe_load(file.read_text())
        except yaml.YAMLError as error:
            return found + [f"{file.name}: {error}"]
        objects[document["kind"]] = document
        if document["kind"] not in UNKNOWN:
            known.append(file)
    found += [f"kubernetes-validate: {line}" for line in said(tool("kubernetes-validate"), "--strict", "--no-warn", *known)]
    resources = set(objects["Kustomization"]["resources"]) | {"kustomization.yaml"}
    if resources != {file.name for file in files}:
        found.append(f"kustomization.yaml: it lists {sorted(resources)}")
    if "Secret" in objects:
        found.append("a Secret is among the manifests: secrets are in no repository")
    if found:
        # What follows trusts that all is where it belongs.
        return found
    config = tomllib.loads((folder / "gatekeeper.toml").read_text())
    return found + pod(objects, config) + references(objects, root)


def pod(objects: dict, config: dict) -> list[str]:
    found = []
    spec = objects["Deployment"]["spec"]["template"]["spec"]
    [container] = spec["containers"]
    context, own = spec["securityContext"], container["securityContext"]
    # https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    for what, holds in {
        "runs as root": context.get("runAsNonRoot") is True and context.get("runAsUser", 0) > 0,
        "has no seccomp profile": context.get("seccompProfile", {}).get("type") == "RuntimeDefault",
        "may gain privileges": own.get("allowPrivilegeEscalation") is False,
        "keeps capabilities": own.get("capabilities") == {"drop": ["ALL"]},
        "writes its root": own.get("readOnlyRootFilesystem") is True,
        "shows a token": spec.get("automountServiceAccountToken") is False,
        "may take all memory": "memory" in container["resources"].get("limits", {}),
    }.items():
        if not holds:
            found.append(f"deployment.yaml: the pod {what}")
    runtime = config["runtime"]
    drain = seconds(runtime["drain_delay"]) + seconds(runtime["drain_timeout"]) + LAST_WORDS
    if spec["terminationGracePeriodSeconds"] < drain:
        found.append(f"deployment.yaml: the pod is killed before it has drained, which may take {drain:.0f} s")
    if seconds(runtime["drain_delay"]) < 5:
        found.append("gatekeeper.toml: the listeners close before the Service has forgotten the pod")
    binds = {item["bind"].rsplit(":", 1)[1] for item in [*config["listener"], config["admin"]]}
    ports = {str(port["containerPort"]) for port in container["ports"]}
    if binds != ports:
        found.append(f"deployment.yaml: the ports are {sorted(ports)}, and the configuration listens on {sorted(binds)}")
    listeners = {listener["name"] for listener in config["listener"]}
    for probe, path in {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}.items():
        get = container.get(probe, {}).get("httpGet", {})
        asked, _, name = get.get("path", "").partition("?listener=")
        if asked != path or (name and name not in listeners) or get.get("port") != "admin":
            found.append(f"deployment.yaml: {probe} does not ask {path} of the admin port, or for a listener that is not there")
        if get.get("scheme") != ("HTTPS" if "tls" in config["admin"] else "HTTP"):
            found.append(f"deployment.yaml: {probe} does not speak as the admin API does")
    if not config["admin"].get("open_health"):
        found.append("gatekeeper.toml: probes have no key, and health needs one")
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    files = re.findall(r'"(/etc/[^"]+)"', str(config).replace("'", '"')) + container["args"][-1:]
    found += [f"gatekeeper.toml: `{file}` is on no volume" for file in files
              if not any(file.startswith(mount + "/") for mount in mounts)]
    return found


def references(objects: dict, root: Path) -> list[str]:
    found = []
    deployment = objects["Deployment"]
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"]
    ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
    for kind, selector in {
        "Deployment": deployment["spec"]["selector"]["matchLabels"],
        "Service": objects["Service"]["spec"]["selector"],
        "PodDisruptionBudget": objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        "NetworkPolicy": objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        "PodMonitor": objects["PodMonitor"]["spec"]["selector"]["matchLabels"],
    }.items():
        if not selector.items() <= labels.items():
            found.append(f"{kind}: it selects no pod of the Deployment")
    named = [("Service", port["targetPort"]) for port in objects["Service"]["spec"]["ports"]]
    named += [("PodMonitor", point["port"]) for point in objects["PodMonitor"]["spec"]["podMetricsEndpoints"]]
    named += [("NetworkPolicy", port["port"]) for rule in objects["NetworkPolicy"]["spec"]["ingress"] for port in rule["ports"]]
    found += [f"{kind}: there is no port `{name}`" for kind, name in named if name not in ports]
    scaler = objects["HorizontalPodAutoscaler"]["spec"]
    if scaler["scaleTargetRef"]["name"] != deployment["metadata"]["name"] or "replicas" in deployment["spec"]:
        found.append("HorizontalPodAutoscaler: it scales no Deployment, or one that says itself how many")
    if scaler["minReplicas"] < 2:
        found.append("HorizontalPodAutoscaler: a single pod cannot be drained without an outage")
    catalog = (root / "src/telemetry/catalog.rs").read_text()
    for metric in (it["pods"]["metric"]["name"] for it in scaler["metrics"] if it["type"] == "Pods"):
        if f'GAUGE, "{metric}"' not in catalog:
            found.append(f"HorizontalPodAutoscaler: there is no gauge `{metric}`")
    return found
