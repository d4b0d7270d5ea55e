"""Drivers whose packages have no tests: programs of ours use what the driver offers, and all that they saw is compared."""

import json
import subprocess
from pathlib import Path

from . import kept
from .outcome import Problem
from .suite import Suite

PROGRAMS = Path(__file__).parents[1] / "programs"
# Far more than either takes.
LIMIT = 300


class Program(Suite):
    """A program that is given a port, and perhaps the name of a test, and prints `{"test": …, "saw": …}` for each."""

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
        found = {line["test"]: line["saw"] for line in map(json.loads, done.stdout.splitlines())}
        if done.returncode or not found:
            raise Problem(f"exit {done.returncode}: {done.stderr[-1500:]}")
        return found

    def check(self, direct):
        if failed := {test: saw for test, saw in direct.items() if saw.startswith("FAILED")}:
            raise Problem(f"direct: {failed}")


class NodePostgres(Program):
    needs = ("test", "node")
    packages = ("pg@8.23.1", "pg-cursor@2.22.0", "pg-query-stream@4.17.0", "pg-copy-streams@7.0.0")

    def fetch(self):
        def install(folder: Path):
            (folder / "package.json").write_text("{}")
            kept.call(["npm", "install", "--silent", "--no-audit", "--no-fund", "--save-exact", *self.packages], folder)

        self.modules = kept.once(kept.KEPT / "node", install) / "node_modules"

    def command(self):
        return ["env", f"NODE_PATH={self.modules}", "node", PROGRAMS / "node-postgres.cjs"]


class Jdbc(Program):
    needs = ("test", "java")

    def command(self):
        return ["java", "-cp", "/usr/share/java/postgresql.jar", PROGRAMS / "Jdbc.java"]
