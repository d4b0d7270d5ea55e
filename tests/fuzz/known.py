"""Known and accepted differences, each with a reason and a script that reproduces the difference."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from conversation import Difference

FILE = Path(__file__).with_name("known.toml")


@dataclass
class Known:
    name: str
    reason: str
    modes: list[str]
    # Regular expressions for the first differing messages of both sides.
    direct: str
    through: str
    sent: str = ""
    script: str = ""
    size: int = 1

    def covers(self, difference: Difference) -> bool:
        direct, through = difference.sides()
        return (
            bool({difference.mode, difference.mode.split("/")[0]} & set(self.modes))
            and bool(re.search(self.direct, direct))
            and bool(re.search(self.through, through))
            and bool(re.search(self.sent, difference.sent))
        )


def known() -> list[Known]:
    return [Known(**entry) for entry in tomllib.loads(FILE.read_text()).get("difference", [])]
