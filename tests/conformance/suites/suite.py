"""What a suite is."""

from lab.server import Server
from lab.workspace import Workspace


class Suite:
    """A suite can be run against any port: against the server's own, and against one that leads there through Gatekeeper.

    What it needs from elsewhere it fetches and builds itself, once, below `target/conformance`.
    """

    # What its results are.
    noun = "tests"
    # The middles that it goes through unless others are named.
    through = ("session", "transaction")
    # What it needs of the machine: purposes of `.ci/setup`.
    needs: tuple[str, ...] = ()
    # Whether a single test can be run.
    single = True
    # By middle: which share of the suite's reads read pools have to answer.
    least_share: dict[str, float] = {}

    def __init__(self, workspace: Workspace, server: Server):
        self.workspace = workspace
        self.server = server

    def fetch(self):
        """Downloads and builds what is not kept from an earlier run."""

    def prepare(self):
        """Starts a fresh server that has what the suite expects; the same before each run."""
        self.server.start()

    def run(self, port: int, test: str = "") -> dict[str, str]:
        """Runs the whole suite, or `test` alone; what each test said."""
        raise NotImplementedError

    def check(self, direct: dict[str, str]):
        """Raises a `Problem` when so much of the direct run failed that likeness says nothing."""

    def reads(self, direct: dict[str, str]) -> int:
        """How many reads a run takes, where the suite itself has counted them."""
        return 0
