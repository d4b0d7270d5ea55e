"""Interface of a suite."""

from lab.server import Server
from lab.workspace import Workspace


class Suite:
    """A suite that runs against any port: the server's, or a proxy's.

    Downloads and builds happen once, below `target/conformance`.
    """

    # Kind of the results.
    noun = "tests"
    # Default proxies of the suite.
    through = ("session", "transaction")
    # Requirements on the machine: purposes of `.ci/setup`.
    needs: tuple[str, ...] = ("test",)
    # True if a single test can run alone.
    single = True
    # Smallest share of the suite's reads that read pools must answer, by proxy.
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
        """Raises a `Problem` if too many tests of the direct run failed for a comparison."""

    def reads(self, direct: dict[str, str]) -> int:
        """Number of reads of a run, if counted by the suite."""
        return 0
