"""SQLAlchemy's suite for dialects, and the tests of the PostgreSQL dialect, with psycopg: verdicts are compared."""

import os
import subprocess
import tempfile
import xml.etree.ElementTree as xml
from pathlib import Path

from . import kept
from .outcome import Problem
from .suite import Suite

SQLALCHEMY = "2.1.9"
# psycopg without C extension, over the machine's libpq.
PACKAGES = (f"sqlalchemy=={SQLALCHEMY}", "psycopg==3.3.9", "greenlet==3.5.6", "pytest==8.4.2")
TESTS = ["test/dialect/test_suite.py", "test/dialect/postgresql"]
# Time limit of a run in seconds: longer than a run takes on two busy cores.
LIMIT = 1200


class SqlAlchemy(Suite):
    needs = ("python",)

    def fetch(self):
        self.python = kept.python("sqlalchemy", *PACKAGES)
        # The tests import the library from the same source tree.
        self.folder = kept.python_source(
            self.python, "sqlalchemy", SQLALCHEMY, "test/", "lib/", "setup.cfg", "pyproject.toml"
        )

    def prepare(self):
        self.server.start(default_text_search_config="pg_catalog.english")
        self.server.sql("create database test")
        for text in ("create extension hstore", "create extension citext", "create schema test_schema",
                     "create schema test_schema_2"):
            self.server.sql(text, "test")

    def run(self, port, test=""):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            command = [
                self.python, "-m", "pytest", "-q", "--maxfail=100000", "--backend-only", "-p", "no:cacheprovider", f"--junitxml={report}",
                f"--dburi=postgresql+psycopg://postgres@127.0.0.1:{port}/test",
                *([_selector(test)] if test else TESTS),
            ]
            try:
                done = subprocess.run(
                    command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                    timeout=LIMIT, check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise Problem(f"not finished after {LIMIT} s") from error
            if not report.exists():
                raise Problem((done.stdout + done.stderr)[-1500:])
            cases = xml.parse(report).iter("testcase")
            return {f"{case.get('classname')}::{case.get('name')}": _verdict(case) for case in cases}

    def check(self, direct):
        if list(direct.values()).count("passed") < len(direct) // 2:
            raise Problem("most tests of the direct run did not pass")


def _verdict(case: xml.Element) -> str:
    return next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")


def _selector(test: str) -> str:
    """pytest's selector of a test: `a.b.Class::test` is in the file `a/b.py`."""
    place, name = test.split("::", 1)
    module, names = place.split("."), []
    while module and module[-1][0].isupper():
        names.insert(0, module.pop())
    return "::".join(["/".join(module) + ".py", *names, name])
