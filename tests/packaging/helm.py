"""The Helm chart: the rendered templates must equal config/kubernetes.

Python code renders the few template constructs in use, since no package registry has Helm; other constructs are faults.
`helm lint` and `helm template` run too if `helm` is installed.
"""

import hashlib
import re
import shutil
import tomllib
from pathlib import Path

import yaml

import manifests
from run import findings, tool

FILES = "config/helm"
ACTION = re.compile(r"\{\{(-?) (.*?) \}\}")
# Values from helm's command line.
RELEASE = {"Name": "gatekeeper"}
# Kinds that the chart replaces: by `--create-namespace`, and by being a chart.
NOT_IN_CHART = {"Namespace", "Kustomization"}


class Unrendered(Exception):
    """An unknown template construct, or a missing value."""


def faults(root: Path) -> list[str]:
    chart = root / FILES / "gatekeeper"
    rules = "{extends: default, rules: {line-length: {max: 140}}}"
    files = [chart / "Chart.yaml", chart / "values.yaml"]
    found = [f"yamllint: {line}" for line in findings(tool("yamllint"), "--strict", "-d", rules, *files)]
    if found:
        return found
    about, values = (yaml.safe_load(file.read_text()) for file in files)
    version = tomllib.loads((root / "Cargo.toml").read_text())["package"]["version"]
    if (about["version"], about["appVersion"], values["image"]["tag"]) != (version,) * 3:
        found.append(f"Chart.yaml: the version is {version}")
    kubernetes = root / manifests.FILES
    for key, name in {"config": "gatekeeper.toml", "ca": "orders-ca.pem"}.items():
        if values[key] != (kubernetes / name).read_text():
            found.append(f"values.yaml: `{key}` is not {name} of the manifests")
    expected = objects_of(path.read_text() for path in sorted(kubernetes.glob("*.yaml")))
    for monitoring, more, less in (("managed", [], set()),
                                   ("operator", ["prometheus-operator/podmonitor.yaml"], {"PodMonitoring", "Role", "RoleBinding"}),
                                   ("none", [], {"PodMonitoring", "Role", "RoleBinding"})):
        wanted = {kind: it for kind, it in expected.items() if kind not in less | NOT_IN_CHART}
        wanted.update(objects_of((kubernetes / name).read_text() for name in more))
        try:
            rendered = render_chart(chart, {**values, "monitoring": monitoring})
        except (Unrendered, yaml.YAMLError) as error:
            return found + [f"helm chart: {error}"]
        found += [f"helm chart ({monitoring}): {line}" for line in differences(rendered, wanted, values)]
    if helm := shutil.which("helm"):
        found += [f"helm lint: {line}" for line in findings(helm, "lint", "--strict", chart)]
        found += [f"helm template: {line}" for line in findings(helm, "template", "gatekeeper", chart)]
    return found


def differences(rendered: dict, wanted: dict, values: dict) -> list[str]:
    config = rendered.pop("ConfigMap", {}).get("data", {})
    found = []
    if config != {"gatekeeper.toml": values["config"], "orders-ca.pem": values["ca"]}:
        found.append("the ConfigMap is not the configuration and the CA of the values")
    annotations = rendered.get("Deployment", {}).get("spec", {}).get("template", {}).get("metadata", {}).pop("annotations", {})
    if annotations != {f"checksum/{key}": hashlib.sha256(values[key].encode()).hexdigest() for key in ("config", "ca")}:
        found.append("a changed configuration starts no new pods: the checksums are not those of the values")
    for kind in sorted(rendered.keys() | wanted.keys()):
        if rendered.get(kind) != wanted.get(kind):
            found.append(f"{kind} is not equal to the manifests")
    return found


def objects_of(texts) -> dict:
    return {document["kind"]: document for text in texts for document in yaml.safe_load_all(text) if document}


def render_chart(chart: Path, values: dict) -> dict:
    return objects_of(render(path, values) for path in sorted((chart / "templates").glob("*.yaml")))


def render(path: Path, values: dict) -> str:
    text = path.read_text()
    whole = re.fullmatch(r'\{\{- if eq \.Values\.monitoring "(\w+)" \}\}\n(.*)\{\{- end \}\}\n', text, re.S)
    if whole:
        if values["monitoring"] != whole[1]:
            return ""
        text = whole[2]
    text = re.sub(r"\s*\{\{- (.*?) \}\}", lambda action: evaluate(path, action[1], values), text)
    return re.sub(r"\{\{ (.*?) \}\}", lambda action: evaluate(path, action[1], values), text)


def evaluate(path: Path, action: str, values: dict) -> str:
    first, *filters = [part.strip() for part in action.split("|")]
    to_yaml, _, name = first.rpartition(" ")
    if to_yaml not in ("", "toYaml"):
        raise Unrendered(f"{path.name}: `{action}` is not rendered here")
    value: object = {"Values": values, "Release": RELEASE}
    for key in name.removeprefix(".").split("."):
        if not isinstance(value, dict) or key not in value:
            raise Unrendered(f"{path.name}: no value `{name}`")
        value = value[key]
    text = yaml.safe_dump(value, sort_keys=False).rstrip("\n") if to_yaml else str(value)
    for word in filters:
        if word == "sha256sum":
            text = hashlib.sha256(text.encode()).hexdigest()
        elif indent := re.fullmatch(r"nindent (\d+)", word):
            text = "\n" + "\n".join(" " * int(indent[1]) + line for line in text.split("\n"))
        else:
            raise Unrendered(f"{path.name}: `{action}` is not rendered here")
    return text
