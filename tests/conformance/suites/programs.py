"""Drivers without packaged tests: local programs use all features of a driver, and results are compared."""

import json
import subprocess
from pathlib import Path

from . import kept
from .outcome import Problem
from .suite import Suite

PROGRAMS = Path(__file__).parents[1] / "programs"
# Time limit of a program in seconds; a run takes far less.
LIMIT = 300


class Program(Suite):
    """A program with the arguments PORT [TEST], which prints `{"test": …, "result": …}` for each test."""

    def command(self) -> list:
        raise NotImplementedError

    def prepare(self):
        self.server.start()
        self.server.sql("create table item (id bigserial primary key, name text unique, amount int)")

    def run(self, port, test=""):
        try:
            done = subprocess.run(
                [str(word) for word in [*self.command(), port, *([test] if test else [])]], cwd=self.workspace.path,
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Problem(f"not finished after {LIMIT} s: {(error.stdout or b'')[-500:]}") from error
        found = {line["test"]: line["result"] for line in map(json.loads, done.stdout.splitlines())}
        if done.returncode or not found:
            raise Problem(f"exit {done.returncode}: {done.stderr[-1500:]}")
        return found

    def check(self, direct):
        if failed := {test: result for test, result in direct.items() if result.startswith("FAILED")}:
            raise Problem(f"direct: {failed}")


class Node(Program):
    needs = ("test", "node")
    packages = ("pg@8.23.1", "pg-cursor@2.22.0", "pg-query-stream@4.17.0", "pg-copy-streams@7.0.0", "postgres@3.4.9")
    program: str

    def fetch(self):
        def install(folder: Path):
            (folder / "package.json").write_text("{}")
            kept.call(["npm", "install", "--silent", "--no-audit", "--no-fund", "--save-exact", *self.packages], folder)

        # A changed list of packages has another folder.
        versions = "-".join(package.replace("@", "-") for package in self.packages)
        self.modules = kept.once(kept.KEPT / f"node-{versions}", install) / "node_modules"

    def command(self):
        return ["env", f"NODE_PATH={self.modules}", "node", PROGRAMS / self.program]


class NodePostgres(Node):
    program = "node-postgres.cjs"


class NodeStreams(Node):
    """pg-cursor and pg-query-stream: portals that are executed in parts, each followed by a Flush."""

    through = ("transaction-1", "audited", "split", "split-audited")
    program = "node-streams.cjs"


class PostgresJs(Node):
    """postgres.js, which sends many statements without waiting for responses."""

    through = ("transaction", "audited", "split", "split-audited")
    program = "postgres-js.cjs"


class Django(Program):
    """A web shop on Django, in autocommit with persistent connections: all pages are compared.

    Read pools must serve nearly all reads of `split`. With a lag of two seconds read pools cannot: visits follow each
    other without a pause, and a session must see the session's own writes.
    """

    noun = "visits"
    needs = ("test", "python")
    single = False
    through = ("split",)
    least_share = {"split": 0.9}
    packages = ("django==5.2.19", "psycopg==3.3.9")

    def fetch(self):
        self.python = kept.python("django", *self.packages)

    def command(self):
        return [self.python, PROGRAMS / "shop/visit.py"]

    def prepare(self):
        self.server.start()
        kept.call([*self.command(), self.server.port, "fill"])

    def run(self, port, test=""):
        return super().run(port, "text") | super().run(port, "bound")

    def check(self, direct):
        if failed := {test: result for test, result in direct.items() if " 5" in result[:3]}:
            raise Problem(f"direct: {failed}")

    def reads(self, direct):
        return sum(int(result) for test, result in direct.items() if test.endswith(" reads"))


class Jdbc(Program):
    needs = ("test", "java")
    program = "Jdbc.java"

    def command(self):
        return ["java", "-cp", "/usr/share/java/postgresql.jar", PROGRAMS / self.program]


class JdbcThreads(Jdbc):
    """More threads than backends, each with a separate connection."""

    noun = "threads"
    through = ("transaction-1", "pooled-audited", "audited", "split-audited")
    program = "JdbcThreads.java"
