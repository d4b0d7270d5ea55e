"""The tests of Go's drivers, from the sources in Debian's packages: verdicts are compared."""

import os
import re
import subprocess
from pathlib import Path

from . import kept
from .kept import KEPT
from .outcome import Problem
from .suite import Suite

# Time limit of a run in seconds; a run takes about a minute.
LIMIT = 400
SOURCES = Path("/usr/share/gocode")
VERDICT = re.compile(r"^\s*--- (PASS|FAIL|SKIP): (\S+)", re.MULTILINE)


class Go(Suite):
    """The tests of a package, built once."""

    needs = ("test", "go")
    package: str

    def fetch(self):
        def build(folder: Path):
            environment = {"GOPATH": str(SOURCES), "GO111MODULE": "off", "GOCACHE": str(KEPT / "go-cache"), "GOFLAGS": ""}
            kept.call(["go", "test", "-c", "-o", folder / "tests", self.package], **environment)

        self.program = kept.once(KEPT / f"go-{self.package.replace('/', '-')}", build) / "tests"

    def environment(self, port: int) -> dict[str, str]:
        raise NotImplementedError

    def run(self, port, test=""):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        wanted = "/".join(f"^{re.escape(part)}$" for part in test.split("/")) if test else "."
        command = [self.program, "-test.v", f"-test.timeout={LIMIT - 20}s", f"-test.run={wanted}"]
        try:
            done = subprocess.run(
                command, cwd=SOURCES / "src" / self.package, env=inherited | self.environment(port), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=LIMIT, check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Problem(f"not finished after {LIMIT} s") from error
        (self.workspace.path / f"{type(self).__name__}.log").write_text(done.stdout)
        found = {name: verdict for verdict, name in VERDICT.findall(done.stdout)}
        if "panic: " in done.stdout:
            found["a test that does not end the program"] = "FAIL"
        if not found and not test:
            raise Problem(f"no results:\n{done.stdout[-1500:]}")
        return found

    def check(self, direct):
        if list(direct.values()).count("PASS") < len(direct) // 2:
            raise Problem("most tests of the direct run failed")


class LibPq(Go):
    through = ("audited", "split-audited")
    package = "github.com/lib/pq"

    def prepare(self):
        self.server.start()
        self.server.sql("create role pqgotest login superuser")
        self.server.sql("create database pqgotest")

    def environment(self, port):
        return {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "pqgotest", "PGDATABASE": "pqgotest", "PGSSLMODE": "disable"}


class Pgx(Go):
    package = "github.com/jackc/pgx/v4"

    def prepare(self):
        self.server.start()
        self.server.sql("create database pgx_test")
        self.server.sql("create domain uint64 as numeric(20,0)", "pgx_test")

    def environment(self, port):
        return {"PGX_TEST_DATABASE": f"host=127.0.0.1 port={port} user=postgres database=pgx_test sslmode=disable"}
