"""PostgreSQL's regression and isolation suites: the output of each test is compared byte for byte."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from lab.server import program
from lab.workspace import Workspace, as_server

from . import debian
from .outcome import Problem
from .suite import Suite

# Time limit of a run in seconds: longer than a run takes on two busy cores.
LIMIT = 1200


class PostgreSql(Suite):
    """A suite run by pg_regress or pg_isolation_regress."""

    noun = "results byte for byte"
    needs = ("python",)
    single = False
    suite = "regress"

    def words(self) -> list:
        """The command line, without parts that depend on the run."""
        raise NotImplementedError

    def run(self, port, test=""):
        # The folder has the same name in all runs, since tests print the name.
        output = self.workspace.folder("output")
        command = self.words() + [f"--outputdir={output}", f"--bindir={program('psql').parent}"]
        command += ["--host=127.0.0.1", f"--port={port}", "--user=postgres"]
        # The exit code compares with the suite's `expected` files and is ignored.
        with (self.workspace.path / "runner.log").open("wb") as log:
            try:
                subprocess.run(
                    as_server(command), cwd=output, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=LIMIT,
                    env={"PATH": os.environ["PATH"], "LC_ALL": "C"}, check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise Problem(f"not finished after {LIMIT} s") from error
        results = output / "results"
        found = {path.stem: path.read_text(errors="surrogateescape") for path in sorted(results.glob("*.out"))}
        if not found:
            raise Problem((self.workspace.path / "runner.log").read_text(errors="replace")[-1500:])
        return found

    def check(self, direct):
        """Requires that most tests of the direct run passed: two runs that fail at once would be alike."""
        log = (self.workspace.path / "runner.log").read_text(errors="replace")
        if re.search(r"All \d+ tests passed", log):
            return
        failed = re.search(r"(\d+) of (\d+) tests failed", log)
        if not failed or int(failed[1]) > int(failed[2]) // 10:
            raise Problem(f"too many tests of the direct run failed:\n{log[-1500:]}")

    def copied(self) -> Path:
        """The SQL of the suite at a path readable by the server's user."""
        copy = self.workspace.path / self.suite
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(debian.source() / "src/test" / self.suite, copy)
        self.workspace.give(copy)
        return copy


class Regress(PostgreSql):
    """The regression suite, with the concurrency of the parallel schedule."""

    at_a_time = 20
    through = ("session", "transaction", "split")

    def fetch(self):
        self.source = self.copied()
        self.library = _library(self.workspace, self.source)

    def words(self):
        return [
            _program("regress/pg_regress"),
            f"--inputdir={self.source}",
            f"--dlpath={self.library}",
            f"--schedule={self.source}/parallel_schedule",
            f"--max-{'connections' if self.at_a_time == 1 else 'concurrent-tests'}={self.at_a_time}",
        ]


class SerialRegress(Regress):
    """The regression suite, one test at a time."""

    at_a_time = 1
    through = ("transaction", "split", "split-lag")


class Isolation(PostgreSql):
    """The isolation suite: sessions that wait for each other.

    The tester queries the server for the processes that wait for a lock. The tester reads the process ID of a
    connection only at login, so that each connection needs a dedicated backend.
    """

    suite = "isolation"
    through = ("session",)

    def fetch(self):
        self.source = self.copied()

    def words(self):
        return [
            _program("isolation/pg_isolation_regress"),
            f"--inputdir={self.source}",
            f"--schedule={self.source}/isolation_schedule",
        ]


def _program(name: str) -> Path:
    """A program of the test suites, which Debian ships beside the build files for extensions."""
    major = program("postgres").parents[1]
    path = major / "lib/pgxs/src/test" / name
    if not path.exists():
        raise Problem(f"{path} is missing (part of Debian's postgresql-client package)")
    return path


def _library(workspace: Workspace, source: Path) -> Path:
    """Folder with the C functions that the tests load: compiled from the suite, and copied from contrib modules."""
    library = workspace.folder("library")
    headers = debian.server_headers()
    compile_it = ["cc", "-shared", "-fPIC", "-O1", "-w", f"-I{headers}", source / "regress.c"]
    done = subprocess.run([*compile_it, "-o", library / "regress.so"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Problem(f"compiling regress.c: {done.stderr[-800:]}")
    installed = program("postgres").parents[1] / "lib"
    for name in ("autoinc.so", "refint.so"):
        shutil.copy(installed / name, library)
    workspace.give(library)
    return library
