"""The suites of psycopg2 and asyncpg, from the source packages: the verdict of each test is compared."""

import contextlib
import os
import re
import subprocess
import tempfile
from pathlib import Path

from . import kept
from .outcome import Problem
from .suite import Suite

# Time limit of a suite in seconds; a suite takes at most about two minutes alone on two cores.
LIMIT = 600

# Lines of unittest's verbose output. Output of a test may stand between name and verdict.
NAME = re.compile(r"^(\w+) \(([\w.]+)\)(?: \.\.\. )?(.*)$")
VERDICT = re.compile(r"(?:^|\s)(ok|FAIL|ERROR|skipped|expected failure|unexpected success)(?: ['\"].*)?$")


class UnitTests(Suite):
    """A suite for Python's unittest."""

    needs = ("python",)
    name: str
    version: str
    others: tuple[str, ...] = ()
    suite: str

    def fetch(self):
        self.python = kept.python(self.name, f"{self.name}=={self.version}", *self.others, "--no-binary", self.name)
        self.folder = kept.python_source(self.python, self.name, self.version, "tests/")

    def environment(self, port: int) -> dict[str, str]:
        raise NotImplementedError

    def run(self, port, test=""):
        # A failed class fixture is not a test: the whole class runs again.
        tests = re.sub(r"\.(setUp|tearDown)Class$", "", test) or self.suite
        return _verdicts(self.python, tests, self.folder, self.environment(port))

    def check(self, direct):
        if all(verdict != "ok" for verdict in direct.values()):
            raise Problem("no test of the direct run passed")


class Psycopg2(UnitTests):
    through = ("session", "transaction", "split")
    name = "psycopg2"
    version = "2.9.13"
    suite = "test_suite"

    def prepare(self):
        self.server.start()
        self.server.sql("create database psycopg2_test")
        self.server.sql("create extension hstore", "psycopg2_test")

    def environment(self, port):
        return {
            "PSYCOPG2_TESTDB": "psycopg2_test",
            "PSYCOPG2_TESTDB_HOST": "127.0.0.1",
            "PSYCOPG2_TESTDB_PORT": str(port),
            "PSYCOPG2_TESTDB_USER": "postgres",
            "PSYCOPG2_TEST_REPL_DSN": "",
        }


class Asyncpg(UnitTests):
    name = "asyncpg"
    version = "0.32.0"
    others = ("distro==1.9.0",)
    suite = "suite"

    def environment(self, port):
        # With a host given, the suite uses that server and skips the tests that start a server.
        return {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres", "PGDATABASE": "postgres"}


def _verdicts(python: Path, tests: str, folder: Path, environment) -> dict[str, str]:
    """Runs unittest on `tests` in the package `tests`; returns each verdict from the verbose output."""
    command = [python, "-m", "unittest", "-v", f"tests.{tests}"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PSYCOPG"))}
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        with contextlib.suppress(subprocess.TimeoutExpired):   # a hanging test and all later tests have no verdict
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
            # Python 3.11 repeats the method in parentheses, and names a discovered test without the package.
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
