"""A read pool: two hot standbys of a server, behind one address."""

import shutil
import sys
from pathlib import Path

from .server import Server
from .workspace import Workspace, free_port, listens, stop, until

BALANCER = Path(__file__).with_name("balancer.py")
NAMES = ("reader_1", "reader_2")
# Seconds before replay cancels a conflicting read on a standby. A synchronous primary waits for the same time.
MAX_CONFLICT_SECONDS = 1


class Standby(Server):
    """A hot standby with the settings of the primary."""

    def __init__(self, workspace: Workspace, name: str, primary: Server):
        super().__init__(workspace)
        self.name = name
        self.primary = primary
        self.data = workspace.path / name
        self.log = workspace.path / f"{name}.log"

    def start(self, **settings):
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)
        conninfo = f"host=127.0.0.1 port={self.primary.port} user=postgres application_name={self.name}"
        self._run("pg_basebackup", "-d", conninfo, "-D", self.data, "-R", "-N", "-c", "fast")
        own = {"primary_conninfo": conninfo, "hot_standby": "on"}
        self.launch(self.primary.running | own | settings)


class Readers:
    """Both standbys, and the balancer in front: each connection to `port` goes to either standby."""

    def __init__(self, workspace: Workspace, primary: Server):
        self.workspace = workspace
        self.primary = primary
        self.port = free_port()
        self.standbys = [Standby(workspace, name, primary) for name in NAMES]
        self.balancer = None

    def start(self, *, synchronous: bool, lag: int = 0):
        """Starts standbys and balancer. With `synchronous`, commits wait for both standbys, by `synchronous_commit`.

        `lag` is the delay of replay in seconds.
        """
        for standby in self.standbys:
            # PostgreSQL measures the delay from the receipt of a record, so that `lag` counts as well.
            delay = f"{MAX_CONFLICT_SECONDS + lag}s"
            standby.start(recovery_min_apply_delay=f"{lag}s", max_standby_streaming_delay=delay)
        words = [sys.executable, BALANCER, self.port, *(standby.port for standby in self.standbys)]
        self.balancer = self.workspace.start(words, log=self.workspace.path / "balancer.log")
        until(30, lambda: listens(self.port), "the balancer accepts connections")
        streaming = "select count(*) from pg_stat_replication where state = 'streaming'"
        if synchronous:
            self.primary.sql(f"alter system set synchronous_standby_names = 'FIRST 2 ({', '.join(NAMES)})'")
            self.primary.sql("select pg_reload_conf()")
            streaming += " and sync_state = 'sync'"
        until(30, lambda: self.primary.sql(streaming) == "2", "the primary streams to both standbys")

    def stop(self):
        if self.balancer:
            stop(self.balancer)
            self.balancer = None
        for standby in self.standbys:
            standby.stop()
