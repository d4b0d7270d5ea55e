"""Interface of a suite."""

from lab.server import Server
from lab.workspace import Workspace


class Suite:
    """A suite can run against any port: the server's own, or a port that leads there through Gatekeeper.

    Downloads and builds are made once, below `target/conformance`.
    """

    # Kind of the results.
    noun = "tests"
    # Default middles of the suite.
    through = ("session", "transaction")
    # Requirements on the machine: purposes of `.ci/setup`.
    needs: tuple[str, ...] = ()
    # Whether a single test can be run.
    single = True
    # By middle: which share of the suite's reads read pools have to answer.
    least_share: dict[str, float] = {}

    def __init__(self, workspace: Workspace, server: Server):
        self.workspace = workspace
        self.server = server

    def fetch(self):
        """Downloads and builds missing parts."""

    def prepare(self):
        """Starts a fresh server with the state expected by the suite; equal before each run."""
        self.server.start()

    def run(self, port: int, test: str = "") -> dict[str, str]:
        """Runs the whole suite, or `test` alone; returns the result of each test."""
        raise NotImplementedError

    def check(self, direct: dict[str, str]):
        """Raises a `Problem` if too much of the direct run failed for a comparison."""

    def reads(self, direct: dict[str, str]) -> int:
        """Number of reads of a run, if counted by the suite."""
        return 0
