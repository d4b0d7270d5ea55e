"""PostgreSQL's source and server headers, from the machine's package archive.

No package is installed, and apt's lists do not change: `deb-src` entries are derived from the `deb` entries in separate
folders below `target/conformance`. Downloads stay there for the next run.
"""

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from lab.server import version
from lab.workspace import ROOT

from .kept import DOWNLOADS, KEPT
from .outcome import Problem


def source() -> Path:
    """Unpacked source of the installed server's version, or of the nearest version in the archive."""
    major = version().split(".")[0]
    kept = KEPT / f"postgresql-{major}-source"
    if kept.exists():
        return kept
    downloads = _downloads()
    options = _apt_options()
    package = f"postgresql-{major}"
    listed = _apt(["apt-cache", *options, "showsrc", "--only-source", package])
    versions = re.findall(r"^Version: (\S+)", listed, re.MULTILINE)
    # The installed version first; a list may name versions without a file in the archive.
    versions.sort(key=lambda found: not found.startswith(version()))
    for candidate in versions:
        command = ["apt-get", *options, "-qq", "--download-only", "--only-source", "source", f"{package}={candidate}"]
        if subprocess.run(command, cwd=downloads, capture_output=True, check=False).returncode == 0:
            break
    else:
        raise Problem(f"the package archive has no source of {package} (versions listed: {versions or 'none'})")
    archive = next(downloads.glob(f"{package}_*.orig.tar.*"))
    unpacked = KEPT / "unpacking"
    shutil.rmtree(unpacked, ignore_errors=True)
    with tarfile.open(archive) as tar:
        suites = re.compile(r"/src/test/(regress|isolation)/")
        tar.extractall(unpacked, members=[file for file in tar if suites.search(file.name)], filter="data")
    next(unpacked.iterdir()).rename(kept)
    shutil.rmtree(unpacked)
    return kept


def server_headers() -> Path:
    """The headers that a server extension is compiled with."""
    major = version().split(".")[0]
    installed = Path(f"/usr/include/postgresql/{major}/server")
    if (installed / "postgres.h").exists():
        return installed
    kept = KEPT / f"postgresql-{major}-headers"
    if not kept.exists():
        downloads = _downloads()
        _apt(["apt-get", "-qq", "download", f"postgresql-server-dev-{major}"], downloads)
        package = next(downloads.glob(f"postgresql-server-dev-{major}_*.deb"))
        subprocess.run(["dpkg-deb", "--extract", package, kept], check=True)
    return kept / installed.relative_to("/")


def _downloads() -> Path:
    if not shutil.which("apt-get"):
        raise Problem("apt-get is missing: the suite needs Debian's or Ubuntu's package archive")
    DOWNLOADS.mkdir(parents=True, exist_ok=True)
    return DOWNLOADS


def _apt_options() -> list[str]:
    """Fetches separate source lists; returns the options that make apt use these lists."""
    own = KEPT / "apt"
    shutil.rmtree(own, ignore_errors=True)
    for folder in ("parts", "lists/partial", "cache/archives/partial"):
        (own / folder).mkdir(parents=True)
    etc = Path("/etc/apt")
    for file in [etc / "sources.list", *(etc / "sources.list.d").glob("*")]:
        if file.suffix == ".sources":
            text = re.sub(r"(?m)^Types:.*$", "Types: deb-src", file.read_text())
        elif file.suffix == ".list" and file.exists():
            text = re.sub(r"(?m)^deb\b(?!-)", "deb-src", file.read_text())
        else:
            continue
        (own / "parts" / file.name).write_text(text)
    options = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": own / "parts",
        "Dir::State::lists": own / "lists",
        "Dir::Cache": own / "cache",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    _apt(["apt-get", *words, "-qq", "update"])
    return words


def _apt(command, folder: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Problem(f"{' '.join(command[:1] + command[-2:])}: {done.stderr.strip()}")
    return done.stdout
