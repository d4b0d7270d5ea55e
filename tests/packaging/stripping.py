"""`.ci/split-debug` with a small program: the program works, and the debug information is in the other file."""

import subprocess
import tempfile
from pathlib import Path

FILES = ".ci/split-debug"
PROGRAM = "int main(void) { return 7; }\n"


def faults(root: Path) -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program, debug = folder / "program", folder / "program.debug"
        (folder / "program.c").write_text(PROGRAM)
        subprocess.run(["cc", "-g", "-o", program, folder / "program.c"], check=True)
        before = program.read_bytes()
        kept = folder / "kept"
        kept.hardlink_to(program)
        found = []
        for turn in ("first", "second"):
            subprocess.run([root / FILES, program], check=True, capture_output=True, text=True)
            if subprocess.run([program], check=False).returncode != 7:
                found.append(f"{FILES}: the program does not work after the {turn} turn")
            if ".debug_info" in sections(program) or ".symtab" in sections(program):
                found.append(f"{FILES}: the program is not stripped")
            if not debug.exists() or ".debug_info" not in sections(debug):
                found.append(f"{FILES}: {debug.name} has no debug information")
        link = subprocess.run(["readelf", "--string-dump=.gnu_debuglink", program], capture_output=True)
        # The section also has a checksum, which is not text.
        if debug.name.encode() not in link.stdout:
            found.append(f"{FILES}: the program does not name {debug.name}")
        if kept.read_bytes() != before:
            found.append(f"{FILES}: another name of the program lost its debug information")
        return found


def sections(file: Path) -> str:
    return subprocess.run(["readelf", "--section-headers", "--wide", file], check=True, capture_output=True, text=True).stdout
