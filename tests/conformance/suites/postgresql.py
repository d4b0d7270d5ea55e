"""PostgreSQL's regression and isolation suites: the text that each test printed is compared octet for octet."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from lab.middle import Middle
from lab.server import Server, program
from lab.workspace import Workspace, as_server

from . import debian
from .outcome import Outcome, Problem

# Longer than any run of either suite takes on two cores that do other work too.
LIMIT = 1200


def regress(workspace: Workspace, server: Server, middle: Middle) -> Outcome:
    source = _copy(workspace, "regress")
    library = _library(workspace, source)
    words = [
        _program("regress/pg_regress"),
        f"--inputdir={source}",
        f"--dlpath={library}",
        f"--schedule={source}/parallel_schedule",
        "--max-concurrent-tests=20",
    ]
    return _both(workspace, server, middle, words, "results octet for octet")


def isolation(workspace: Workspace, server: Server, middle: Middle) -> Outcome:
    source = _copy(workspace, "isolation")
    words = [
        _program("isolation/pg_isolation_regress"),
        f"--inputdir={source}",
        f"--schedule={source}/isolation_schedule",
    ]
    return _both(workspace, server, middle, words, "results octet for octet")


def _both(workspace, server, middle, words, noun) -> Outcome:
    direct = _run(workspace, server, server.port, words)
    _check_that_it_ran(workspace)
    server.start()
    middle.start()
    through = _run(workspace, server, middle.port, words, restart=False)
    return Outcome(direct, through, noun)


def _run(workspace: Workspace, server: Server, port: int, words, restart=True) -> dict[str, str]:
    """One run; both happen in folders of the same name, since tests print them."""
    output = workspace.folder("output")
    if restart:
        server.start()
    command = words + [f"--outputdir={output}", f"--bindir={program('psql').parent}"]
    command += ["--host=127.0.0.1", f"--port={port}", "--user=postgres"]
    # The verdict against `expected`, and with it the exit code, is of no interest here.
    with (workspace.path / "runner.log").open("wb") as log:
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
        raise Problem((workspace.path / "runner.log").read_text(errors="replace")[-1500:])
    return found


def _check_that_it_ran(workspace: Workspace):
    """Two runs that both fail at the first step are alike, too: most tests of the direct one must have passed."""
    log = (workspace.path / "runner.log").read_text(errors="replace")
    if re.search(r"All \d+ tests passed", log):
        return
    failed = re.search(r"(\d+) of (\d+) tests failed", log)
    if not failed or int(failed[1]) > int(failed[2]) // 10:
        raise Problem(f"too much of the direct run failed:\n{log[-1500:]}")


def _program(name: str) -> Path:
    """A program of the test suites: Debian ships them beside the build files for extensions."""
    major = program("postgres").parents[1]
    path = major / "lib/pgxs/src/test" / name
    if not path.exists():
        raise Problem(f"{path} is not there (Debian's postgresql-client package has it)")
    return path


def _copy(workspace: Workspace, suite: str) -> Path:
    """The suite's SQL where the server's user can read it."""
    copy = workspace.path / suite
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(debian.source() / "src/test" / suite, copy)
    workspace.give(copy)
    return copy


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
