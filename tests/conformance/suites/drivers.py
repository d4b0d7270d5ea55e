"""The suites that drivers ship in their source packages: for each test the verdict is compared.

Drivers are built once, in an environment of their own below `target/conformance`.
"""

import contextlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from lab.middle import Middle
from lab.server import Server
from lab.workspace import Workspace

from .debian import KEPT
from .outcome import Outcome, Problem

# Either suite takes about two minutes at most, alone on two cores.
LIMIT = 600
PSYCOPG2 = "2.9.13"
ASYNCPG = "0.32.0"

# unittest's verbose lines. What a test prints may stand between its name and its verdict.
NAME = re.compile(r"^(\w+) \(([\w.]+)\)(?: \.\.\. )?(.*)$")
VERDICT = re.compile(r"(?:^|\s)(ok|FAIL|ERROR|skipped|expected failure|unexpected success)(?: ['\"].*)?$")


def psycopg2(_workspace: Workspace, server: Server, middle: Middle) -> Outcome:
    folder = _unpacked("psycopg2", PSYCOPG2)

    def run(port: int, test: str = "") -> dict[str, str]:
        environment = {
            "PSYCOPG2_TESTDB": "psycopg2_test",
            "PSYCOPG2_TESTDB_HOST": "127.0.0.1",
            "PSYCOPG2_TESTDB_PORT": str(port),
            "PSYCOPG2_TESTDB_USER": "postgres",
            "PSYCOPG2_TEST_REPL_DSN": "",
        }
        return _verdicts(test or "test_suite", folder, environment)

    def prepare():
        server.start()
        server.sql("create database psycopg2_test")
        server.sql("create extension hstore", "psycopg2_test")

    return _both(server, middle, prepare, run)


def asyncpg(_workspace: Workspace, server: Server, middle: Middle) -> Outcome:
    folder = _unpacked("asyncpg", ASYNCPG, "distro==1.9.0")

    def run(port: int, test: str = "") -> dict[str, str]:
        # With a host given, the suite uses that server and leaves out the tests that set up one of their own.
        environment = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres", "PGDATABASE": "postgres"}
        return _verdicts(test or "suite", folder, environment)

    return _both(server, middle, server.start, run)


def _both(server: Server, middle: Middle, prepare, run) -> Outcome:
    prepare()
    direct = run(server.port)
    if all(verdict != "ok" for verdict in direct.values()):
        raise Problem("no test of the direct run passed")
    prepare()
    middle.start()
    through = run(middle.port)
    outcome = Outcome(direct, through, "tests")

    def again(test: str) -> tuple[str, str]:
        return run(server.port, test).get(test, ""), run(middle.port, test).get(test, "")

    outcome.settle(again)
    return outcome


def _verdicts(tests: str, folder: Path, environment) -> dict[str, str]:
    """Runs unittest on what `tests` names in the package `tests`; each test's verdict, from the verbose output."""
    command = [_python(), "-m", "unittest", "-v", f"tests.{tests}"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PSYCOPG"))}
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        with contextlib.suppress(subprocess.TimeoutExpired):   # a test that hangs has no verdict, nor have those after it
            subprocess.run(
                command, cwd=folder, env=inherited | environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=output, timeout=LIMIT, check=False,
            )
        output.seek(0)
        text = output.read()
    found: dict[str, str] = {}
    open_name = None
    for line in text.splitlines():
        if begun := NAME.match(line):
            # Python 3.11 names the method in both places, and a discovered test is named without its package.
            open_name = f"{begun[2].removesuffix('.' + begun[1])}.{begun[1]}".removeprefix("tests.")
            line = begun[3]
        if open_name and (verdict := VERDICT.search(line)):
            found[open_name] = verdict[1]
            open_name = None
        if line.startswith(("=====", "-----")):
            break   # the report on failures follows
    if not found:
        raise Problem(f"no results:\n{text[-1500:]}")
    return found


def _unpacked(name: str, version: str, *needs: str) -> Path:
    """A folder with the package's tests and without its modules, which come from the environment.

    `needs` are other packages that the tests import.
    """
    folder = KEPT / f"{name}-{version}"
    if not folder.exists():
        downloads = KEPT / "downloads"
        downloads.mkdir(parents=True, exist_ok=True)
        pip = [_python(), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        _call([*pip, "download", "--no-deps", "--no-binary", ":all:", "-d", downloads, f"{name}=={version}"])
        archive = downloads / f"{name}-{version}.tar.gz"
        _call([*pip, "install", archive, *needs])
        with tarfile.open(archive) as tar:
            wanted = [member for member in tar if member.name.startswith(f"{name}-{version}/tests/")]
            tar.extractall(KEPT, members=wanted, filter="data")
    return folder


def _python() -> Path:
    environment = KEPT / "python"
    python = environment / "bin/python"
    if not python.exists():
        _call([sys.executable, "-m", "venv", environment])
    return python


def _call(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Problem(f"{command[0]} …: {done.stderr[-1500:]}")
