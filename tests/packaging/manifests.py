"""The Kubernetes manifests: yamllint, Kubernetes' schemas, and consistency with configuration and program."""

import re
import tomllib
from pathlib import Path

import yaml

from run import findings, seconds, tool

FILES = "config/kubernetes"
# Kinds without a schema in Kubernetes' own set.
UNKNOWN = {"Kustomization", "PodMonitor", "PodMonitoring"}
# Folders of further examples, each with a Kustomization.
BESIDE = ("prometheus-operator", "sidecar")
SHUTDOWN_SECONDS = 5


def faults(root: Path) -> list[str]:
    folder = root / FILES
    found, objects = read(folder, root)
    for name in BESIDE:
        more, others = read(folder / name, root)
        found += more
        objects.update({f"{name}/{kind}": document for kind, document in others.items()})
    if found:
        # Later checks rely on the folder structure.
        return found
    config = tomllib.loads((folder / "gatekeeper.toml").read_text())
    beside = tomllib.loads((folder / "sidecar/gatekeeper.toml").read_text())
    return (found + pod(objects, config) + references(objects, root) + identity(objects, config) + monitoring(objects)
            + sidecars(objects, beside))


def read(folder: Path, root: Path) -> tuple[list[str], dict]:
    """Findings of linters in a folder, and the folder's objects by kind."""
    files = sorted(folder.glob("*.yaml"))
    rules = "{extends: default, rules: {line-length: {max: 140}}}"
    found = [f"yamllint: {line}" for line in findings(tool("yamllint"), "--strict", "-d", rules, *files)]
    known, objects = [], {}
    for file in files:
        try:
            documents = list(yaml.safe_load_all(file.read_text()))
        except yaml.YAMLError as error:
            return found + [f"{file.name}: {error}"], objects
        objects.update({document["kind"]: document for document in documents})
        if not UNKNOWN & {document["kind"] for document in documents}:
            known.append(file)
    if known:
        found += [f"kubernetes-validate: {line}" for line in findings(tool("kubernetes-validate"), "--strict", "--no-warn", *known)]
    resources = set(objects["Kustomization"]["resources"]) - {".."} | {"kustomization.yaml"}
    if resources != {file.name for file in files}:
        found.append(f"kustomization.yaml: it lists {sorted(resources)}")
    if "Secret" in objects:
        found.append("a Secret is among the manifests: secrets do not belong in a repository")
    return found, objects


def identity(objects: dict, config: dict) -> list[str]:
    """The pod's Google service account must be the database user, without a password."""
    found = []
    for prefix in ("", "sidecar/"):
        account = objects[f"{prefix}ServiceAccount"]
        google = account["metadata"].get("annotations", {}).get("iam.gke.io/gcp-service-account", "")
        if not google.endswith(".gserviceaccount.com"):
            found.append(f"{prefix}serviceaccount.yaml: no Google service account is mapped to the ServiceAccount")
        for kind in ("Deployment", "sidecar/Job") if not prefix else ("sidecar/Deployment",):
            spec = objects[kind]["spec"]["template"]["spec"]
            owner = objects["sidecar/ServiceAccount"] if kind.startswith("sidecar/") else account
            if spec["serviceAccountName"] != owner["metadata"]["name"]:
                found.append(f"{kind}: runs as another ServiceAccount than the mapped one")
    for cluster in config["cluster"]:
        if "password" in cluster["login"] or "iam" not in cluster["login"]:
            found.append("gatekeeper.toml: a static password logs in, instead of a Google token")
        elif cluster["login"].get("impersonate") is None and cluster["login"]["users"] != [google.removesuffix(".gserviceaccount.com")]:
            found.append("gatekeeper.toml: the users are not the one user of the pod's tokens")
    return found


def monitoring(objects: dict) -> list[str]:
    """Google's collectors must reach the admin port, and may read the port's key."""
    found = []
    subjects = objects["RoleBinding"]["subjects"]
    [rule] = objects["Role"]["rules"]
    allowed = {peer["namespaceSelector"]["matchLabels"].get("kubernetes.io/metadata.name")
               for rule in objects["NetworkPolicy"]["spec"]["ingress"] if {"port": "admin"} in rule["ports"] for peer in rule["from"]}
    found += [f"networkpolicy.yaml: collectors of `{subject['namespace']}` do not reach the admin port"
              for subject in subjects if subject["namespace"] not in allowed]
    [point] = objects["PodMonitoring"]["spec"]["endpoints"]
    secret = point["authorization"]["credentials"]["secret"]
    if rule["resourceNames"] != [secret["name"]]:
        found.append("metricsreader.yaml: collectors may read another Secret than the key's")
    volumes = objects["Deployment"]["spec"]["template"]["spec"]["volumes"]
    [endpoint] = objects["prometheus-operator/PodMonitor"]["spec"]["podMetricsEndpoints"]
    for name in (secret["name"], endpoint["authorization"]["credentials"]["name"]):
        if name not in [volume.get("secret", {}).get("secretName") for volume in volumes]:
            found.append(f"monitoring: the key is in `{name}`, which the pods do not mount")
    return found


def sidecars(objects: dict, config: dict) -> list[str]:
    """Native sidecars: probes need no shell and no open port, and the application finds the listener."""
    found = []
    drain = seconds(config["runtime"].get("drain_delay", "0")) + seconds(config["runtime"]["drain_timeout"]) + SHUTDOWN_SECONDS
    [listener] = config["listener"]
    for kind in ("Deployment", "Job"):
        spec = objects[f"sidecar/{kind}"]["spec"]["template"]["spec"]
        [sidecar], [application] = spec["initContainers"], spec["containers"]
        file = f"sidecar/{kind.lower()}.yaml"
        if sidecar.get("restartPolicy") != "Always":
            found.append(f"{file}: the container is not a native sidecar, so that the application never starts")
        for probe in ("startupProbe", "livenessProbe"):
            command = sidecar[probe].get("exec", {}).get("command", [])
            if command[:2] != ["/usr/bin/gatekeeper", "healthcheck"] or command[-1] != sidecar["args"][-1]:
                found.append(f"{file}: {probe} does not run `gatekeeper healthcheck` with the sidecar's configuration")
        if "--live" not in sidecar["livenessProbe"].get("exec", {}).get("command", []):
            found.append(f"{file}: a cluster that is down restarts the sidecar")
        mounts = [mount["mountPath"] for mount in sidecar["volumeMounts"]]
        files = [sidecar["args"][-1], *(cluster["ca_file"] for cluster in config["cluster"])]
        found += [f"{file}: `{name}` is not on a volume" for name in files
                  if not any(name.startswith(mount + "/") for mount in mounts)]
        urls = [variable["value"] for variable in application["env"] if variable["name"] == "DATABASE_URL"]
        if not all(f"@{listener['bind']}/" in url for url in urls):
            found.append(f"{file}: the application does not connect to {listener['bind']}")
        if spec["terminationGracePeriodSeconds"] < drain:
            found.append(f"{file}: the pod is killed before it has drained, which may take {drain:.0f} s")
    if not listener["bind"].startswith("127.0.0.1:") or "admin" in config:
        found.append("sidecar/gatekeeper.toml: other pods reach a port of the sidecar")
    return found


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
        "may write the root filesystem": own.get("readOnlyRootFilesystem") is True,
        "mounts a service account token": spec.get("automountServiceAccountToken") is False,
        "has no memory limit": "memory" in container["resources"].get("limits", {}),
    }.items():
        if not holds:
            found.append(f"deployment.yaml: the pod {what}")
    runtime = config["runtime"]
    drain = seconds(runtime["drain_delay"]) + seconds(runtime["drain_timeout"]) + SHUTDOWN_SECONDS
    if spec["terminationGracePeriodSeconds"] < drain:
        found.append(f"deployment.yaml: the pod is killed before it has drained, which may take {drain:.0f} s")
    if seconds(runtime["drain_delay"]) < 5:
        found.append("gatekeeper.toml: the listeners close before the Service has removed the pod")
    binds = {item["bind"].rsplit(":", 1)[1] for item in [*config["listener"], config["admin"]]}
    ports = {str(port["containerPort"]) for port in container["ports"]}
    if binds != ports:
        found.append(f"deployment.yaml: the ports are {sorted(ports)}, and the configuration listens on {sorted(binds)}")
    listeners = {listener["name"] for listener in config["listener"]}
    for probe, path in {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}.items():
        get = container.get(probe, {}).get("httpGet", {})
        requested, _, name = get.get("path", "").partition("?listener=")
        if requested != path or (name and name not in listeners) or get.get("port") != "admin":
            found.append(f"deployment.yaml: {probe} does not request {path} from the admin port, or names an unknown listener")
        if get.get("scheme") != ("HTTPS" if "tls" in config["admin"] else "HTTP"):
            found.append(f"deployment.yaml: {probe} does not use the scheme of the admin API")
    if not config["admin"].get("open_health"):
        found.append("gatekeeper.toml: probes have no key, and health requires a key")
    mounts = [mount["mountPath"] for mount in container["volumeMounts"]]
    files = re.findall(r'"(/etc/[^"]+)"', str(config).replace("'", '"')) + container["args"][-1:]
    found += [f"gatekeeper.toml: `{file}` is not on a volume" for file in files
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
        "PodMonitor": objects["prometheus-operator/PodMonitor"]["spec"]["selector"]["matchLabels"],
        "PodMonitoring": objects["PodMonitoring"]["spec"]["selector"]["matchLabels"],
    }.items():
        if not selector.items() <= labels.items():
            found.append(f"{kind}: selects no pod of the Deployment")
    named = [("Service", port["targetPort"]) for port in objects["Service"]["spec"]["ports"]]
    named += [("PodMonitor", point["port"])
              for point in objects["prometheus-operator/PodMonitor"]["spec"]["podMetricsEndpoints"]]
    named += [("PodMonitoring", point["port"]) for point in objects["PodMonitoring"]["spec"]["endpoints"]]
    named += [("NetworkPolicy", port["port"]) for rule in objects["NetworkPolicy"]["spec"]["ingress"] for port in rule["ports"]]
    found += [f"{kind}: no port `{name}`" for kind, name in named if name not in ports]
    scaler = objects["HorizontalPodAutoscaler"]["spec"]
    if scaler["scaleTargetRef"]["name"] != deployment["metadata"]["name"] or "replicas" in deployment["spec"]:
        found.append("HorizontalPodAutoscaler: scales no Deployment, or a Deployment with fixed replicas")
    if scaler["minReplicas"] < 2:
        found.append("HorizontalPodAutoscaler: a single pod cannot be drained without an outage")
    catalog = (root / "src/telemetry/catalog.rs").read_text()
    for metric in (it["pods"]["metric"]["name"] for it in scaler["metrics"] if it["type"] == "Pods"):
        if f'GAUGE, "{metric}"' not in catalog:
            found.append(f"HorizontalPodAutoscaler: no gauge `{metric}`")
    return found
