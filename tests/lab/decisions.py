"""Where a Gatekeeper has sent statements, and why: as its metrics say."""

import re
import urllib.request
from collections import Counter
from dataclasses import dataclass, field

SAMPLE = re.compile(r"^(\w+)\{(.*)\} (\S+)$")
LABEL = re.compile(r'(\w+)="([^"]*)"')
# Endpoints that a read may go to.
POOLS = "read-pool"


@dataclass
class Decisions:
    """Statements by the role of the endpoint that answered them, and decisions by their reason."""

    answered: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)
    readers_up: bool = False

    @classmethod
    def of(cls, admin_port: int) -> "Decisions":
        with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics", timeout=10) as answer:
            return cls.read(answer.read().decode())

    @classmethod
    def read(cls, page: str) -> "Decisions":
        found = cls()
        for name, labels, value in filter(None, map(_sample, page.splitlines())):
            if name == "gatekeeper_statements_total":
                found.answered[labels["backend_role"]] += int(float(value))
            elif name == "gatekeeper_route_decisions_total":
                found.reasons[labels["reason"]] += int(float(value))
            elif name == "gatekeeper_endpoint_health" and labels["backend_role"] == POOLS and labels["state"] == "up":
                found.readers_up = float(value) == 1
        return found

    @property
    def by_readers(self) -> int:
        """Statements that read pools answered."""
        return self.answered[POOLS]

    def lines(self) -> list[str]:
        """For a report."""
        total = self.answered.total()
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.reasons.most_common(10) if count)
        share = 100 * self.by_readers / total if total else 0
        return [f"read pools answered {self.by_readers} of {total} statements ({share:.1f} %); decisions: {reasons}"]


def _sample(line: str):
    found = SAMPLE.match(line)
    return found and (found[1], dict(LABEL.findall(found[2])), found[3])
