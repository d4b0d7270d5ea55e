"""Outcome of a suite on both sides, and the comparison."""

import difflib
import shutil
import time
from collections import Counter
from pathlib import Path


class Problem(Exception):
    """Reason why a suite could not run; no comparison is possible."""


class Outcome:
    """Results of a suite: for each test, the result of the direct run and of the run through the proxy."""

    def __init__(self, direct: dict[str, str], through: dict[str, str], noun: str):
        if not direct:
            raise Problem("the direct run had no result")
        self.direct, self.through, self.noun = direct, through, noun
        names = sorted(direct.keys() | through.keys())
        self.differing = [name for name in names if direct.get(name) != through.get(name)]
        self.excused: dict[str, str] = {}
        self.unsteady: list[str] = []
        # Tests that differed once, with the difference.
        self.flaky: list[str] = []

    def excuse(self, known: dict[str, str]):
        """Removes the differences that are known to be unavoidable."""
        self.excused = {name: known[name] for name in self.differing if name in known}
        self.differing = [name for name in self.differing if name not in known]

    def settle(self, again, least: int = 10, most: int = 40, seconds: float = 90):
        """Runs each test that differs again, on both sides: `again(test)` returns both verdicts.

        A test is alike once both sides have given the same set of verdicts: the verdict is then random in the direct
        run as well. It is also alike if only the direct run was unsteady, and the proxy always gave the verdict that
        the direct run gave in most turns. A test that differs in at most one turn of ten, and never in the direct run, is
        flaky. Any other still differs after `most` turns, or after `least` turns and the time.
        """
        if len(self.differing) > 20:
            return
        for name in list(self.differing):
            direct, through = Counter([self.direct.get(name, "")]), Counter([self.through.get(name, "")])
            begun = time.monotonic()
            for turn in range(most):
                if turn >= least and time.monotonic() - begun > seconds:
                    break
                for seen, verdict in zip((direct, through), again(name)):
                    seen[verdict] += 1
                if direct.keys() == through.keys():
                    break
            usual = direct.most_common(1)[0][0]
            if direct.keys() == through.keys() or (len(direct) > 1 and list(through) == [usual]):
                self.differing.remove(name)
                self.unsteady.append(name)
            elif list(direct) == [usual] and 10 * through[usual] >= 9 * through.total():
                self._note_flaky(name)

    def compare_again(self, second: "Outcome"):
        """Takes those tests as flaky that are alike in a `second` run of the whole suite."""
        for name in list(self.differing):
            if name not in second.differing:
                self._note_flaky(name)

    def _note_flaky(self, name: str):
        self.differing.remove(name)
        self.flaky += ["FLAKY:", *self._detail(name)]

    @property
    def alike(self) -> bool:
        return not self.differing

    def summary(self) -> str:
        words = f"{len(self.direct)} {self.noun}: "
        words += "all alike" if self.alike else f"{len(self.differing)} DIFFER"
        counts = self.counts()
        words += f" ({counts})" if counts else ""
        words += f", {len(self.unsteady)} unsteady in the direct run" if self.unsteady else ""
        return words + (f", {len(self.excused)} excused" if self.excused else "")

    def counts(self) -> str:
        """Number of each verdict of the direct run; empty if results are texts."""
        verdicts = sorted(set(self.direct.values()))
        if any("\n" in verdict or len(verdict) > 20 for verdict in verdicts):
            return ""
        return ", ".join(f"{list(self.direct.values()).count(verdict)} {verdict}" for verdict in verdicts)

    def details(self) -> list[str]:
        lines = [f"{name}: {reason}" for name, reason in self.excused.items()]
        lines += [f"{name}: unsteady, direct as well" for name in self.unsteady]
        lines += self.flaky
        for name in self.differing[:20]:
            lines += self._detail(name)
        if len(self.differing) > 20:
            lines.append(f"… and {len(self.differing) - 20} more")
        return lines

    def keep(self, folder: Path):
        """Writes both sides of each difference below `folder`."""
        shutil.rmtree(folder, ignore_errors=True)
        for side, results in (("direct", self.direct), ("through", self.through)):
            for name in self.differing:
                path = folder / side / name.replace("/", "_")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(results.get(name, "(no result)\n"))

    def _detail(self, name: str) -> list[str]:
        direct, through = self.direct.get(name, "(no result)"), self.through.get(name, "(no result)")
        if "\n" not in direct + through:
            return [f"{name}: direct {direct}, through {through}"]
        diff = difflib.unified_diff(direct.splitlines(), through.splitlines(), "direct", "through", "", "", 1, "")
        return [f"{name}:"] + [f"  {line[:160]}" for line, _ in zip(diff, range(12))]


def known_differences(file: Path) -> dict[str, dict[str, str]]:
    """Reads lines `suite test: reason`; the form `suite/proxy test: reason` is limited to that proxy."""
    known: dict[str, dict[str, str]] = {}
    for line in file.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            place, reason = line.split(": ", 1)
            suite, test = place.split(" ", 1)
            known.setdefault(suite, {})[test] = reason
    return known
