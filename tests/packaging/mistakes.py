"""Deliberate mistakes, each of which has to be found: the file, what is in it, what would be wrong, words of the fault."""

KUBERNETES = "config/kubernetes/"
UNIT = "config/systemd/gatekeeper.service"

MISTAKES = [
    ("config/Dockerfile", "USER 65532:65532", "USER root", "no user by number"),
    ("config/Dockerfile", "USER 65532:65532\n", "RUN true\nUSER 65532:65532\n", "the last stage runs something"),
    ("config/Dockerfile", "cc-debian12:nonroot", "cc-debian12:debug-nonroot", "may have a shell"),
    ("config/Dockerfile", 'CMD ["run"]', "CMD run", "hadolint"),
    ("config/Dockerfile", "COPY tests tests\n", "", "cannot be built"),
    ("config/Dockerfile", "COPY src src", "COPY sources src", "no `sources` to copy"),
    (UNIT, "ProtectSystem=strict", "ProtectSytem=strict", "Unknown key"),
    (UNIT, "CapabilityBoundingSet=\n", "", "exposure level"),
    (UNIT, "NoNewPrivileges=yes\nCapabilityBoundingSet=\nAmbientCapabilities=\n", "", "exposure level"),
    (UNIT, "TimeoutStopSec=90s", "TimeoutStopSec=30s", "systemd kills after"),
    ("config/systemd/gatekeeper.socket", "127.0.0.1:15432", "127.0.0.1:5432", "of no listener"),
    ("Cargo.toml", 'conf-files = ["/etc/gatekeeper/gatekeeper.toml", ', "conf-files = [", "overwritten by an upgrade"),
    ("Cargo.toml", '["config/example.toml"', '["config/exmaple.toml"', "is not there"),
    ("config/debian/postinst", "#DEBHELPER#", "", "no #DEBHELPER#"),
    ("config/debian/postinst", "\nfi\n", "\n", "postinst"),
    (KUBERNETES + "deployment.yaml", "terminationGracePeriodSeconds: 85", "terminationGracePeriodSeconds: 30", "before it has drained"),
    (KUBERNETES + "deployment.yaml", "terminationGracePeriodSeconds", "terminationGracePeriod", "kubernetes-validate"),
    (KUBERNETES + "deployment.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "writes its root"),
    (KUBERNETES + "deployment.yaml", 'drop: ["ALL"]', 'drop: ["NET_RAW"]', "keeps capabilities"),
    (KUBERNETES + "deployment.yaml", "containerPort: 15433", "containerPort: 15434", "the configuration listens on"),
    (KUBERNETES + "deployment.yaml", "/readyz?listener=app", "/readyz?listener=apps", "readinessProbe"),
    (KUBERNETES + "deployment.yaml", "  name: gatekeeper\n", "  name: gatekeeper\n   labels: 1\n", "deployment.yaml"),
    (KUBERNETES + "gatekeeper.toml", "open_health = true", "open_health = false", "health needs one"),
    (KUBERNETES + "gatekeeper.toml", 'drain_delay   = "10s"', 'drain_delay   = "0s"', "before the Service"),
    (KUBERNETES + "gatekeeper.toml", "/etc/gatekeeper/secrets/admin-key", "/etc/secrets/admin-key", "on no volume"),
    (KUBERNETES + "horizontalpodautoscaler.yaml", "name: gatekeeper_clients", "name: gatekeeper_customers", "no gauge"),
    (KUBERNETES + "service.yaml", "targetPort: reads", "targetPort: writes", "no port `writes`"),
    (KUBERNETES + "podmonitor.yaml", "app.kubernetes.io/name: gatekeeper", "app: gatekeeper", "selects no pod"),
    (KUBERNETES + "kustomization.yaml", "  - networkpolicy.yaml\n", "", "it lists"),
]
