"""Certificates for a run."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from .workspace import Workspace


@dataclass(frozen=True)
class Tls:
    """A certificate for `localhost`, and the CA that signed the certificate."""

    ca: Path
    cert: Path
    key: Path

    @classmethod
    def made_in(cls, workspace: Workspace) -> "Tls":
        """Makes a CA and a certificate of the kind that managed servers have (RSA, 2,048 bits)."""
        folder = workspace.folder("tls")
        ca, ca_key, cert, key, request, names = (
            folder / name for name in ("ca.pem", "ca.key", "cert.pem", "key.pem", "request", "names")
        )
        names.write_text("subjectAltName=DNS:localhost\n")
        new_key = ["-newkey", "rsa:2048", "-nodes", "-sha256"]
        _openssl("req", "-x509", *new_key, "-keyout", ca_key, "-out", ca, "-days", "2", "-subj", "/CN=lab authority")
        _openssl("req", *new_key, "-keyout", key, "-out", request, "-subj", "/CN=localhost")
        _openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2",
                 "-extfile", names, "-out", cert)
        workspace.give(folder)
        for private in (key, ca_key):
            private.chmod(0o600)
        return cls(ca, cert, key)


def _openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
