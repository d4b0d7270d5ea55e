"""The tests of Rust drivers, from the source on crates.io: verdicts are compared."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from . import kept
from .kept import KEPT
from .outcome import Problem
from .suite import Suite

# Time limit of a test program in seconds; a run takes a few.
LIMIT = 600
PROGRAMS = Path(__file__).parents[1] / "programs"
VERDICT = re.compile(r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", re.MULTILINE)


class Crate(Suite):
    """The integration tests of a crate, built once; the tests read the server's address from the environment."""

    needs = ("build", "test")
    name: str
    version: str
    features: tuple[str, ...] = ()
    tests: tuple[str, ...]
    programs: dict[str, Path]

    def fetch(self):
        folder = kept.once(KEPT / f"{self.name}-{self.version}", self.unpack)
        self.programs = self.build(folder)

    def unpack(self, folder: Path):
        """Copies the source of the crate into `folder`, as a separate workspace."""
        lookup = folder.with_suffix(".lookup")
        shutil.rmtree(lookup, ignore_errors=True)
        (lookup / "src").mkdir(parents=True)
        (lookup / "src/lib.rs").touch()
        (lookup / "Cargo.toml").write_text(
            '[package]\nname = "lookup"\nversion = "0.0.0"\nedition = "2021"\n'
            f'[dependencies]\n{self.name} = {{ version = "={self.version}", default-features = false }}\n[workspace]\n'
        )
        found = json.loads(kept.call(["cargo", "metadata", "--format-version", "1"], lookup))
        manifest = next(Path(package["manifest_path"]) for package in found["packages"] if package["name"] == self.name)
        shutil.copytree(manifest.parent, folder, dirs_exist_ok=True, copy_function=shutil.copy)
        shutil.rmtree(lookup)
        (folder / "rust-toolchain.toml").unlink(missing_ok=True)   # the installed toolchain is new enough
        with (folder / "Cargo.toml").open("a") as cargo:
            cargo.write("\n[workspace]\n")
        self.adapt(folder)

    def adapt(self, folder: Path):
        """Changes the tests so that the server's address comes from the environment."""

    def build(self, folder: Path) -> dict[str, Path]:
        """The test programs by name."""
        words = ["cargo", "test", "--no-run", "--message-format=json", "--target-dir", KEPT / "crates"]
        words += ["--features", ",".join(self.features)] if self.features else []
        words += [word for test in self.tests for word in ("--test", test)]
        messages = map(json.loads, kept.call(words, folder, **self.environment(self.server.port)).splitlines())
        return {
            message["target"]["name"]: Path(message["executable"])
            for message in messages
            if message["reason"] == "compiler-artifact" and message.get("executable")
        }

    def environment(self, port: int) -> dict[str, str]:
        raise NotImplementedError

    def run(self, port, test=""):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        only, _, exact = test.partition(" ")
        found: dict[str, str] = {}
        for name, program in self.programs.items():
            if only and name != only:
                continue
            command = [str(program), "--test-threads=4", *([exact, "--exact"] if exact else [])]
            try:
                done = subprocess.run(
                    command, cwd=KEPT / f"{self.name}-{self.version}", env=inherited | self.environment(port),
                    stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False,
                )
            except subprocess.TimeoutExpired as error:
                raise Problem(f"{name} not finished after {LIMIT} s") from error
            found |= {f"{name} {case}": verdict for case, verdict in VERDICT.findall(done.stdout)}
            (self.workspace.path / f"{name}.log").write_text(done.stdout + done.stderr)
        return found

    def check(self, direct):
        if list(direct.values()).count("ok") < len(direct) // 2:
            raise Problem("most tests of the direct run failed")


class TokioPostgres(Crate):
    name = "tokio-postgres"
    version = "0.7.18"
    features = ("array-impls",)
    tests = ("test",)

    def adapt(self, folder):
        # The port stands in string literals: each literal goes through a function that reads the environment.
        tests = folder / "tests/test"
        literal = re.compile(r'"[^"]*\b5433\b[^"]*"')
        for file in [tests / "main.rs", tests / "runtime.rs", tests / "types/mod.rs", tests / "binary_copy.rs"]:
            text = file.read_text()
            file.write_text(literal.sub(lambda found: f"&*crate::lab_port({found[0]})", text))
        with (tests / "main.rs").open("a") as main:
            main.write(
                "\nfn lab_port(text: &str) -> String {\n"
                '    text.replace("5433", &std::env::var("LAB_PORT").expect("LAB_PORT is set"))\n}\n'
            )

    def prepare(self):
        self.server.start()
        for text in (
            "create role pass_user password 'password' login",
            "set password_encryption = 'md5'; create role md5_user password 'password' login",
            "set password_encryption = 'scram-sha-256'; create role scram_user password 'password' login",
            "create extension hstore", "create extension citext", "create extension ltree",
        ):
            self.server.sql(text)
        self.server.admit(
            "host all pass_user all password", "host all md5_user all md5", "host all scram_user all scram-sha-256"
        )

    def environment(self, port):
        return {"LAB_PORT": str(port)}


class Sqlx(Crate):
    name = "sqlx"
    version = "0.9.0"
    features = ("postgres", "runtime-tokio", "macros", "migrate", "json", "uuid", "chrono")
    tests = tuple(
        f"postgres{part}"
        for part in ("", "-types", "-derives", "-describe", "-error", "-macros", "-migrate", "-query-builder",
                     "-rustsec", "-test-attr")
    )

    def adapt(self, folder):
        # The tests need a crate that is not published: `programs/sqlx-test` replaces that crate.
        manifest = folder / "Cargo.toml"
        manifest.write_text(manifest.read_text() + '\n[dev-dependencies.sqlx-test]\npath = "sqlx-test"\n')

    def build(self, folder):
        shutil.copytree(PROGRAMS / "sqlx-test", folder / "sqlx-test", dirs_exist_ok=True)
        # sqlx's macros query the server at compile time.
        self.prepare()
        programs = super().build(folder)
        self.server.stop()
        return programs

    def prepare(self):
        self.server.start()
        self.server.sql("create database sqlx")
        setup = KEPT / f"{self.name}-{self.version}/tests/postgres/setup.sql"
        self.server.sql(setup.read_text(), "sqlx")

    def environment(self, port):
        return {"DATABASE_URL": f"postgres://postgres@127.0.0.1:{port}/sqlx"}
