"""Two tenants of a database login, in a pool with a single backend: the second must see the state of a new session.

The first session also runs direct: after a return, the client must see the complete state of the client's session.
"""

import random
import time

from conversation import Difference, DirectRun
from grammar import OWN_STATE, Generator
from lab.frames import END, Client, Frame, encode
from stage import Stage
from steps import ANSWER_SECONDS, ProxiedClient, Step

STEPS = 8
# Time the second tenant waits before the backend counts as pinned to the first session.
TIED_SECONDS = 0.08
# Time limit of the wait for a free backend.
FREE_SECONDS = 8

# Session state that must not differ from a new session. A standby's transactions are read-only by default.
SESSION_STATE = (
    "SELECT pg_catalog.concat_ws('; ', session_user, current_user, "
    "(SELECT pg_catalog.string_agg(name || '=' || pg_catalog.left(setting, 60) || pg_catalog.length(setting), ', ' ORDER BY name) "
    "FROM pg_catalog.pg_settings WHERE context IN ('user', 'superuser') AND name NOT LIKE 'transaction\\_%' AND name NOT LIKE '%.%' "
    "AND name <> ALL ('{default_transaction_read_only,in_hot_standby}')), "
    "'one=' || NULLIF(pg_catalog.left(pg_catalog.current_setting('my.one', true), 60), ''), "
    "'two=' || NULLIF(pg_catalog.left(pg_catalog.current_setting('my.two', true), 60), ''), "
    "'listens ' || (SELECT pg_catalog.string_agg(c, ',' ORDER BY c) FROM pg_catalog.pg_listening_channels() c), "
    "'locks ' || (SELECT pg_catalog.string_agg(pg_catalog.format('%s %s %s', classid, objid, mode), ',' ORDER BY classid, objid, mode) "
    "FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()), "
    "'temporary ' || (SELECT pg_catalog.string_agg(relname, ',' ORDER BY relname) FROM pg_catalog.pg_class "
    "WHERE relnamespace = pg_catalog.pg_my_temp_schema()), "
    "'functions ' || (SELECT pg_catalog.string_agg(proname, ',' ORDER BY proname) FROM pg_catalog.pg_proc "
    "WHERE pronamespace = pg_catalog.pg_my_temp_schema()), "
    "'prepared ' || (SELECT pg_catalog.string_agg(name, ',' ORDER BY name) FROM pg_catalog.pg_prepared_statements WHERE from_sql), "
    "'cursors ' || (SELECT pg_catalog.string_agg(name, ',' ORDER BY name) FROM pg_catalog.pg_cursors WHERE name <> ''))"
)
QUESTIONS = [SESSION_STATE, "SELECT currval('kept')", "SHOW search_path", "SELECT current_user", "EXECUTE l"]
# random() after setseed(0.25) has a fixed result.
RANDOM = "SELECT random()"

KINDS = [
    "settings", "identity", "temporary", "listen", "locks", "cursors", "sql_prepared", "discard", "blocks", "sequences",
    "functions", "prepared", "portals", "function_call",
]
LEFTOVERS = [
    "PREPARE l AS SELECT set_config('my.one', 'by execute', false)", "EXECUTE l", "DEALLOCATE l",
    "PREPARE l AS SELECT pg_try_advisory_lock({life})", "SELECT leaves_table_by_path()", "SELECT setseed(0.25)",
    "EXECUTE \"__gatekeeper_{n}\"('role', 'joe')", "EXECUTE \"__gatekeeper_{n}\"('my.one', 'by its own')", "DEALLOCATE \"__gatekeeper_{n}\"",
    "UPDATE pg_settings SET setting = '2MB' WHERE name = 'work_mem'",
    "SET my.one = '{long}'", "SET search_path = public{path}", "SET application_name = '{long}'",
    "SELECT set_config('my.two', repeat('x', {size}), false)", "SELECT set_config('search_path', 'public{path}', false)",
    "DO $$ BEGIN CREATE TEMP TABLE IF NOT EXISTS orders (a int); PERFORM pg_try_advisory_lock({life}, 3); END $$",
    "SELECT query_to_xml('SELECT set_config(''my.one'', ''by xml'', false)', true, false, '')",
    "SET my.one = 'one' \\; SET ROLE joe", "CREATE TEMP TABLE t (a int); DISCARD TEMP; CREATE TEMP TABLE t (a int)",
    "CREATE TEMP TABLE orders ON COMMIT PRESERVE ROWS AS SELECT 1 AS a",
]
DISCARDS = ["DISCARD ALL", "discard all", "RESET ALL", "RESET ROLE", "DEALLOCATE ALL", "UNLISTEN *", "CLOSE ALL", "SELECT pg_advisory_unlock_all()"]
# Another session creates the definition, and the tenant uses the definition at once: (definition, use).
BODIES = [
    "PERFORM set_config('my.one', 'made elsewhere', false);", "PERFORM pg_try_advisory_lock({life}, 4);",
    "CREATE TEMP TABLE IF NOT EXISTS orders (a int);", "SET ROLE joe;", "LISTEN a;", "EXECUTE 'SET work_mem = ''3MB''';",
    "PERFORM nextval('kept');", "SET search_path = nowhere;",
]
ELSEWHERE = [
    ("CREATE OR REPLACE FUNCTION made_f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN {body} RETURN 1; END $$", "SELECT made_f()"),
    ("CREATE OR REPLACE FUNCTION made_f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN {body} RETURN 1; END $$;"
     "DROP VIEW IF EXISTS made_view; CREATE VIEW made_view AS SELECT made_f() AS x; GRANT SELECT ON made_view TO PUBLIC", "SELECT * FROM made_view"),
    ("CREATE OR REPLACE FUNCTION made_t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NEW; END $$;"
     "DROP TRIGGER IF EXISTS made ON own_0; CREATE TRIGGER made BEFORE INSERT ON own_0 FOR EACH ROW EXECUTE FUNCTION made_t()",
     "INSERT INTO own_0 VALUES (1, 'x')"),
    ("CREATE OR REPLACE FUNCTION made_f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN {body} RETURN 1; END $$;"
     "DROP TABLE IF EXISTS made_table; CREATE TABLE made_table (a int DEFAULT made_f(), b int); GRANT ALL ON made_table TO PUBLIC",
     "INSERT INTO made_table (b) VALUES (1)"),
    ("CREATE OR REPLACE FUNCTION made_f(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN {body} RETURN true; END $$;"
     "DROP TABLE IF EXISTS made_table; DROP DOMAIN IF EXISTS made_domain; CREATE DOMAIN made_domain AS int CHECK (made_f(VALUE));"
     "CREATE TABLE made_table (a made_domain); GRANT ALL ON made_table TO PUBLIC", "INSERT INTO made_table VALUES (1)"),
]


# Time after which Gatekeeper knows a definition that a direct connection has changed.
DEFINITIONS_SECONDS = 1.1


class Tenant(Generator):
    """A client that leaves state behind."""

    def __init__(self, draw: random.Random):
        super().__init__(draw)
        self.kinds = draw.sample(KINDS, draw.randint(2, 4))
        self.use = ""

    def unframed(self, me, status, open_batch, copying):
        if self.use:
            sql, self.use = self.use, ""
            return Step(me, "send", self.as_messages(sql))
        if status == "I" and not open_batch and not copying and self.once_in(8):
            definition, self.use = self.draw.choice(ELSEWHERE)
            body = self.draw.choice(BODIES)
            return Step(me, "other_session", [["Q", self.fill(definition.replace("{body}", body), me)]])
        return super().unframed(me, status, open_batch, copying)

    def end_session(self, me):
        step = super().end_session(me)
        return step if step.act == "terminate" or self.once_in(2) else Step(me, "disconnect")

    def request(self, me, status):
        if status == "I" and self.once_in(3):
            return self.leftover_request(me)
        return super().request(me, status)

    def leftover_request(self, me) -> list:
        match self.draw.randrange(8):
            case 0 | 1:
                # State that a statement leaves after a reset in the same write must be found, too.
                one, two = self.draw.choice(DISCARDS), self.draw.choice([self.statement(me), self.leftover(me)])
                if self.once_in(2):
                    return [["Q", one], ["Q", two]]
                return [["P", "", one], ["B", "", "", []], ["E", "", 0], ["S"], ["P", "", two], ["B", "", "", []], ["E", "", 0], ["S"]]
            case 2:
                # set_config(text, text, boolean) and pg_try_advisory_lock(bigint)
                return [self.draw.choice([["F", 2078, ["my.one", "by call", "f"]], ["F", 2882, [str(1000 + self.lives)]]])]
            case 3:
                return [["P", "", self.leftover(me)], ["B", "", "", []], ["E", "", 0], ["Q", self.leftover(me)], ["S"]]
            case _:
                return self.as_messages(self.leftover(me))

    def leftover(self, me) -> str:
        size = self.draw.choice([100, 17_000, 70_000, 200_000])
        sql = self.draw.choice(LEFTOVERS)
        for word, value in (("{long}", "y" * size), ("{path}", "".join(f",s{at}" for at in range(size // 8))), ("{size}", str(size))):
            sql = sql.replace(word, value)
        return self.fill(sql.replace("{n}", str(self.draw.randint(1, 12))), me)


class SecondTenant:
    """A new session that queries for foreign state."""

    def __init__(self, stage: Stage, mode: str, fresh: dict[str, list[Frame]]):
        self.stage, self.mode, self.fresh = stage, mode, fresh
        self.client: Client | None = None
        self.open_question = ""
        self.received: list[Frame] = []

    def send_question(self, question: str):
        if self.client is None:
            self.client = self.stage.client(self.mode, 1)
        self.client.send(encode(["Q", question]))
        self.open_question, self.received = question, []

    def answered(self, seconds: float) -> bool:
        """True if the response is complete within `seconds`."""
        end = time.monotonic() + seconds
        while not self.received or self.received[-1].tag not in "Z-":
            frame = self.client.receive(max(0, end - time.monotonic()))
            if frame is None:
                return False
            self.received.append(frame)
        return True

    def foreign_state(self, step: int, sent: str) -> Difference | None:
        """Difference between the response and the state of a new session."""
        question, self.open_question = self.open_question, ""
        if question == RANDOM:
            same = self.received == self.fresh[RANDOM]
            return self.difference(step, sent, what="random() continues from another tenant's seed") if same else None
        if self.received == self.fresh[question]:
            return None
        return self.difference(step, sent, direct=self.fresh[question], through=self.received)

    def difference(self, step, sent, direct=(), through=(), what="") -> Difference:
        return Difference(f"tenants/{self.mode}", 1, step, sent, list(direct), list(through), what=what)

    def end_session(self):
        if self.client is not None:
            self.client.terminate()
            self.client = None


def fresh(stage: Stage, mode: str) -> dict[str, list[Frame]]:
    """State of a session on an unused backend."""
    client = stage.client(mode, 1)
    answers = {question: client.query(question) for question in QUESTIONS}
    client.terminate()
    client = stage.client("direct", 0)
    client.query("SELECT setseed(0.25)")
    answers[RANDOM] = client.query(RANDOM)
    client.terminate()
    return answers


class TenantRun:
    """A visit of the first tenant, with checks of the second tenant during and after the visit."""

    def __init__(self, stage: Stage, mode: str, answers: dict):
        self.stage, self.mode = stage, mode
        self.direct_run = DirectRun(stage)
        self.second = SecondTenant(stage, mode, answers)
        self.first: ProxiedClient | None = None
        self.steps: list[Step] = []

    def run(self, source) -> Difference | None:
        """Runs the steps of `source` until the end; returns the first difference."""
        for mode in ("direct", self.mode):
            self.stage.prepare(mode)
        try:
            while step := source(self.direct_run):
                self.steps.append(step)
                if wrong := self.take(step):
                    return wrong
            return self.end()
        except (TimeoutError, OSError) as error:
            return self.difference(what=f"{type(error).__name__}: {error}")
        finally:
            self.direct_run.close()
            for client in (self.first and self.first.client, self.second.client):
                if client is not None:
                    client.disconnect()

    def difference(self, **more) -> Difference:
        return self.second.difference(len(self.steps) - 1, self.steps[-1].line() if self.steps else "", **more)

    def take(self, step: Step) -> Difference | None:
        if step.act == "other_session":
            for mode in ("direct", self.mode) if step.messages else ():
                self.stage.sql(mode, step.messages[0][1])
            # Definitions of other sessions count after this time (docs/pooling.md, "What a tenant may rely on").
            time.sleep(DEFINITIONS_SECONDS)
            return None
        self.send(step)
        reference = self.direct_run.clients[0]
        if self.first is None or reference is None or reference.holds:
            return self.check(FREE_SECONDS) if self.first is None else None
        if self.mode != "session" and (wrong := self.check(TIED_SECONDS)):
            return wrong
        return self.check_own_state()

    def send(self, step: Step):
        """Runs the step on both sides; differences of the responses do not matter here."""
        if self.first is None:
            self.first = ProxiedClient(self.stage.client(self.mode, 1))
        answer = self.direct_run.act(step)
        if step.act == "send":
            self.first.send(step, len(answer.frames))
            if END in answer.frames:
                self.first.client.disconnect()
                self.first = None
            return
        if step.act == "send_and_disconnect":
            self.first.client.send(step.bytes(), step.cuts)
        self.first.client.terminate() if step.act == "terminate" else self.first.client.disconnect()
        self.first = None

    def check(self, seconds: float) -> Difference | None:
        """The second tenant checks; without a response in time the wait continues while the first holds the backend."""
        questions = [*QUESTIONS, RANDOM] if "setseed" in self.sql() else QUESTIONS
        for question in questions:
            if not self.second.open_question:
                self.second.send_question(question)
            if not self.second.answered(seconds):
                if seconds < FREE_SECONDS:
                    return None
                return self.difference(what=f"no backend within {seconds} s: {self.second.received}")
            wrong = self.second.foreign_state(len(self.steps) - 1, self.steps[-1].line())
            if wrong:
                return wrong
        # The queries may have pinned the session.
        self.second.end_session()
        return None

    def sql(self) -> str:
        return " ".join(step.sql() for step in self.steps)

    def check_own_state(self) -> Difference | None:
        """Compares the first tenant's own state on both sides."""
        mark = f"after {len(self.steps)} steps"
        step = Step(0, "send", [["Q", f"SELECT '{mark}', ({OWN_STATE})"]])
        expected = self.direct_run.act(step).frames
        self.first.client.send(step.bytes())
        received: list[Frame] = []
        # Earlier responses come before the response to the mark.
        while not (received and received[-1].tag in "Z-" and any(mark.encode() in frame.body for frame in received)):
            frame = self.first.client.receive(ANSWER_SECONDS)
            if frame is None:
                break
            received.append(frame)
        received = received[-len(expected) :]
        return None if received == expected else self.difference(direct=expected, through=received)

    def end(self) -> Difference | None:
        """The first tenant terminates, and a new session checks the state."""
        if self.first is not None:
            self.steps.append(Step(0, "terminate"))
            self.send(self.steps[-1])
        return self.check(FREE_SECONDS)


def visit(stage: Stage, seed: int, mode: str, answers: dict) -> tuple[list[Step], Difference | None]:
    """Runs a random visit."""
    chance = random.Random(seed)
    tenant = Tenant(chance)
    steps = chance.randint(1, STEPS)

    def draw(direct_run: DirectRun) -> Step | None:
        if len(run.steps) >= steps or (run.steps and run.first is None and run.steps[-1].act != "other_session"):
            return None
        pending = direct_run.client(0).pending
        return tenant.step(0, pending.status, bool(pending.queue) or pending.skipping, pending.copying)

    run = TenantRun(stage, mode, answers)
    return run.steps, run.run(draw)


def run_visit_script(stage: Stage, steps: list[Step], mode: str, answers: dict) -> Difference | None:
    """Runs the visit of a script."""
    rest = iter(steps)
    return TenantRun(stage, mode, answers).run(lambda _talk: next(rest, None))
