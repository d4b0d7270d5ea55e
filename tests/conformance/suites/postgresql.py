"""PostgreSQL's regression and isolation suites: the text that each test printed is compared byte for byte."""

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

# Longer than any run of either suite takes on two cores that do other work too.
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
        # All runs happen in folders of the same name, since tests print them.
        output = self.workspace.folder("output")
        command = self.words() + [f"--outputdir={output}", f"--bindir={program('psql').parent}"]
        command += ["--host=127.0.0.1", f"--port={port}", "--user=postgres"]
        # The verdict against `expected`, and with it the exit code, is of no interest here.
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
        """Two runs that both fail at the first step are alike, too: most tests of the direct one must have passed."""
        log = (self.workspace.path / "runner.log").read_text(errors="replace")
        if re.search(r"All \d+ tests passed", log):
            return
        failed = re.search(r"(\d+) of (\d+) tests failed", log)
        if not failed or int(failed[1]) > int(failed[2]) // 10:
            raise Problem(f"too much of the direct run failed:\n{log[-1500:]}")

    def copied(self) -> Path:
        """The SQL of the suite at a path readable by the server's user."""
        copy = self.workspace.path / self.suite
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(debian.source() / "src/test" / self.suite, copy)
        self.workspace.give(copy)
        return copy


class Regress(PostgreSql):
    """The regression suite, with the concurrency of its schedule."""

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
    """The same tests, one after the other."""

    at_a_time = 1
    through = ("transaction", "split", "split-lag")


class Isolation(PostgreSql):
    """Sessions that wait for each other.

    The tester asks the server whether the process behind one of its connections waits for a lock, and it learns that
    process once, at login: so it needs one backend for each connection.
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
    """A program of the test suites: Debian ships them beside the build files for extensions."""
    major = program("postgres").parents[1]
    path = major / "lib/pgxs/src/test" / name
    if not path.exists():
        raise Problem(f"{path} is not there (Debian's postgresql-client package has it)")
    return path


def _library(workspace: Workspace, source: Path) -> Path:
    """The folder with the C functions that the tests load: compiled here, and from the server's contributed modules."""
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
