"""Route decisions with reasons, pins and state checks: read from Gatekeeper's metrics."""

import re
import urllib.request
from collections import Counter
from dataclasses import dataclass, field

SAMPLE = re.compile(r"^(\w+)\{(.*)\} (\S+)$")
LABEL = re.compile(r'(\w+)="([^"]*)"')
# Declared role of the endpoints that serve reads.
POOLS = "read-pool"


@dataclass
class Decisions:
    """Statements by the declared role of the answering endpoint; decisions and pins by reason.

    Gatekeeper decides once per transaction, and not while the session is pinned to the primary.
    """

    answered: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)
    pins: Counter = field(default_factory=Counter)
    transactions: int = 0
    state_checks: int = 0
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
            elif name == "gatekeeper_pins_total":
                found.pins[labels["reason"]] += int(float(value))
            elif name == "gatekeeper_transactions_total":
                found.transactions += int(float(value))
            elif name == "gatekeeper_state_checks_total":
                found.state_checks += int(float(value))
            elif name == "gatekeeper_endpoint_health" and labels["backend_role"] == POOLS and labels["state"] == "up":
                found.readers_up = float(value) == 1
        return found

    @property
    def by_readers(self) -> int:
        """Statements that read pools answered."""
        return self.answered[POOLS]

    def lines(self, reads: int = 0) -> list[str]:
        """Lines of a report; `reads` is the number of reads among the statements, if known."""
        checked = _share(self.state_checks, self.transactions)
        lines = [f"state checks behind {self.state_checks} of {self.transactions} transactions ({checked})"]
        if not self.readers_up:
            return lines
        total = self.answered.total()
        answered = f"read pools answered {self.by_readers} of {total} statements ({_share(self.by_readers, total)})"
        if reads:
            answered += f", {_share(self.by_readers, reads)} of {reads} reads"
        lines.append(answered)
        for what, counts in (("decisions", self.reasons), ("pins to the primary", self.pins)):
            if words := ", ".join(f"{reason} {count}" for reason, count in counts.most_common(10) if count):
                lines.append(f"{what}: {words}")
        return lines


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole if whole else 0:.1f} %"


def _sample(line: str):
    found = SAMPLE.match(line)
    return found and (found[1], dict(LABEL.findall(found[2])), found[3])
