"""Downloads and builds of suites: kept below `target/conformance` for the next run."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from lab.workspace import ROOT

from .outcome import Problem

KEPT = ROOT / "target" / "conformance"
DOWNLOADS = KEPT / "downloads"


def call(command, folder: Path = ROOT, **environment: str) -> str:
    """Runs `command` and returns the output."""
    done = subprocess.run(
        [str(word) for word in command], cwd=folder, env=os.environ | environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )
    if done.returncode:
        raise Problem(f"{' '.join(map(str, command[:3]))} …: {(done.stderr or done.stdout)[-1500:]}")
    return done.stdout


def once(folder: Path, make) -> Path:
    """Calls `make` to fill `folder`, unless an earlier run has filled the folder completely."""
    if not folder.exists():
        half = folder.with_name(folder.name + ".half")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        make(half)
        half.rename(folder)
    return folder


def python(name: str, *packages: str) -> Path:
    """The interpreter of a private environment with `packages`, each built from source where necessary."""
    environment = KEPT / name
    interpreter = environment / "bin/python"
    done = environment / "packages"
    if not done.exists() or done.read_text().split() != list(packages):
        shutil.rmtree(environment, ignore_errors=True)
        call([sys.executable, "-m", "venv", environment])
        call([interpreter, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", *packages])
        done.write_text("\n".join(packages))
    return interpreter


def python_source(interpreter: Path, name: str, version: str, *wanted: str) -> Path:
    """A folder with the parts of a package's source archive that `wanted` names.

    The package's modules are left out, so that the tests import the installed modules.
    """

    def unpack(folder: Path):
        DOWNLOADS.mkdir(parents=True, exist_ok=True)
        pip = [interpreter, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        call([*pip, "download", "--no-deps", "--no-binary", ":all:", "-d", DOWNLOADS, f"{name}=={version}"])
        top = f"{name}-{version}/"
        with tarfile.open(DOWNLOADS / f"{name}-{version}.tar.gz") as tar:
            members = []
            for member in tar:
                member.name = member.name.removeprefix(top)
                if member.name.startswith(wanted):
                    members.append(member)
            tar.extractall(folder, members=members, filter="data")

    return once(KEPT / f"{name}-{version}", unpack)
