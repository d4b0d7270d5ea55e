"""Generates random requests of all kinds, in all forms of the protocol."""

import random

from steps import LASTING, Step

# Session state that is visible inside the session, as a single row.
OWN_STATE = (
    "SELECT pg_catalog.concat_ws('; ', session_user, current_user, "
    "(SELECT pg_catalog.string_agg(name || '=' || pg_catalog.left(setting, 40) || pg_catalog.length(setting), ', ' ORDER BY name) "
    "FROM pg_catalog.pg_settings WHERE name = ANY "
    "('{TimeZone,DateStyle,work_mem,search_path,application_name,statement_timeout,lock_timeout,client_min_messages,extra_float_digits,"
    "bytea_output,default_transaction_isolation,client_encoding,IntervalStyle,enable_seqscan}')), "
    "'one=' || NULLIF(pg_catalog.current_setting('my.one', true), ''), 'two=' || NULLIF(pg_catalog.current_setting('my.two', true), ''), "
    "'listens ' || (SELECT pg_catalog.string_agg(c, ',' ORDER BY c) FROM pg_catalog.pg_listening_channels() c), "
    "'locks ' || (SELECT pg_catalog.string_agg(pg_catalog.format('%s %s %s', classid, objid, mode), ',' ORDER BY classid, objid, mode) "
    "FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()), "
    "'temporary ' || (SELECT pg_catalog.string_agg(relname, ',' ORDER BY relname) FROM pg_catalog.pg_class "
    "WHERE relnamespace = pg_catalog.pg_my_temp_schema()), "
    "'functions ' || (SELECT pg_catalog.string_agg(proname, ',' ORDER BY proname) FROM pg_catalog.pg_proc "
    "WHERE pronamespace = pg_catalog.pg_my_temp_schema()), "
    "'cursors ' || (SELECT pg_catalog.string_agg(name || is_holdable, ',' ORDER BY name) FROM pg_catalog.pg_cursors WHERE name <> ''))"
)
LIST_PREPARED = "SELECT name, statement, from_sql FROM pg_catalog.pg_prepared_statements WHERE from_sql ORDER BY name"

SETTINGS = {
    "timezone": ["'Asia/Tokyo'", "'UTC'", "DEFAULT"],
    "work_mem": ["'1MB'", "'64kB'", "DEFAULT"],
    "search_path": ["public", "pg_temp, public", "'$user', public", "DEFAULT"],
    "application_name": ["'one'", "'it''s \"two\"'", "''", "DEFAULT"],
    "statement_timeout": ["'61s'", "120000", "0"],
    "lock_timeout": ["'5s'", "0"],
    "client_min_messages": ["warning", "error", "DEFAULT"],
    "extra_float_digits": ["0", "3", "DEFAULT"],
    "bytea_output": ["'escape'", "hex", "DEFAULT"],
    "default_transaction_isolation": ["'repeatable read'", "'read committed'", "DEFAULT"],
    "default_transaction_read_only": ["on", "off", "off"],
    "datestyle": ["'German'", "ISO, DMY", "DEFAULT"],
    "intervalstyle": ["'iso_8601'", "DEFAULT"],
    "enable_seqscan": ["off", "on", "DEFAULT"],
    "my.one": ["'x'", "'a ''quoted'' one'", "''"],
    "my.two": ["1", "'2'"],
}
READS = [
    "SELECT 1", "SELECT id, word FROM notes ORDER BY id", "SELECT count(*) FROM own_{me}", "SELECT generate_series(1, 5)",
    "SELECT * FROM own_{me} ORDER BY a, b", "SELECT 1 / 0", "SELECT x FROM nowhere", "SELEC", "", "SELECT 1; SELECT 2; SELECT 3",
    "SELECT 1; SELECT 1 / 0; SELECT 3", "SELECT now() = statement_timestamp()", "SELECT speaks()", "SELECT fails(3)",
    "SELECT catches()", "VALUES (1, 'one'), (2, NULL)", "SHOW work_mem", "SHOW search_path", "SHOW default_transaction_read_only", "SELECT repeat('x', 20000)",
    "SELECT repeat('é', 70000)", "SELECT word FROM notes WHERE id = 3 FOR UPDATE", "SELECT 'é', E'\\\\x'", "TABLE notes ORDER BY id",
    "SELECT current_setting('transaction_isolation')", "WITH a AS (SELECT 1 AS x) SELECT * FROM a", "EXPLAIN (COSTS OFF) SELECT 1",
    "SELECT -- a comment\n 1", ";", "/* only a comment */", "SELECT 'a' AS \"long name of a column\"",
]
WRITES = [
    "INSERT INTO own_{me} VALUES ({n}, 'new')", "UPDATE own_{me} SET b = 'changed' WHERE a = {n}", "DELETE FROM own_{me} WHERE a = {n}",
    "INSERT INTO own_{me} VALUES ({n}, 'r') RETURNING a, b", "WITH gone AS (DELETE FROM own_{me} WHERE a = {n} RETURNING a) SELECT count(*) FROM gone",
    "INSERT INTO notes VALUES (1, 'twice')", "INSERT INTO late VALUES ({me}{n})", "TRUNCATE own_{me}", "INSERT INTO own_{me} VALUES ('no number')",
    "UPDATE notes SET word = 'of {me}' WHERE id = {me} + 1", "INSERT INTO own_{me} SELECT i, 'many' FROM generate_series(1, 3) i",
]
KINDS = {
    "reads": READS,
    "writes": WRITES,
    "identity": [
        "SET ROLE joe", "SET ROLE 'ann'", "SET LOCAL ROLE joe", "RESET ROLE", "SET ROLE NONE", "SET SESSION AUTHORIZATION app",
        "RESET SESSION AUTHORIZATION", "SELECT set_config('role', 'joe', false)", "SELECT session_user, current_user",
        "SET ROLE nobody_there",
    ],
    "temporary": [
        "CREATE TEMP TABLE t (a int)", "CREATE TEMPORARY TABLE IF NOT EXISTS t AS SELECT 1 AS a", "CREATE TEMP TABLE gone (a int) ON COMMIT DROP",
        "CREATE TEMP VIEW v AS SELECT 'mine'::text AS x", "CREATE TEMP SEQUENCE temp_s", "INSERT INTO t VALUES (2)", "SELECT * FROM t ORDER BY a",
        "SELECT * FROM v", "DROP TABLE t", "DROP TABLE IF EXISTS t", "DROP VIEW IF EXISTS v", "DISCARD TEMP", "SELECT 1 AS a INTO TEMP t",
    ],
    "listen": ["LISTEN a", "LISTEN b", "UNLISTEN a", "UNLISTEN *", "NOTIFY a, 'hello'", "NOTIFY b", "SELECT pg_notify('a', 'by function')"],
    "locks": [
        "SELECT pg_try_advisory_lock({life})", "SELECT pg_try_advisory_lock(2, {life})", "SELECT pg_try_advisory_lock_shared({life})",
        "SELECT pg_try_advisory_xact_lock({life})", "SELECT pg_advisory_unlock({life})", "SELECT pg_advisory_unlock_all()",
    ],
    "cursors": [
        "DECLARE c CURSOR FOR SELECT generate_series(1, 9)", "DECLARE c CURSOR WITH HOLD FOR SELECT generate_series(1, 9)",
        "DECLARE d SCROLL CURSOR WITH HOLD FOR SELECT 'd'", "FETCH 2 FROM c", "FETCH ALL FROM d", "CLOSE c", "CLOSE d", "CLOSE ALL",
        "MOVE 1 FROM c",
    ],
    "sql_prepared": [
        "PREPARE p AS SELECT 'p'", "PREPARE q (int) AS SELECT $1 + 1", "PREPARE s1 AS SELECT 'by SQL'", "EXECUTE p", "EXECUTE q (1)",
        "EXECUTE s1", "EXECUTE s2", "DEALLOCATE p", "DEALLOCATE PREPARE q", "DEALLOCATE s1", "DEALLOCATE s2", "DEALLOCATE ALL",
        "PREPARE w AS INSERT INTO own_{me} VALUES (7, 'prepared')", "EXECUTE w", LIST_PREPARED, "EXPLAIN (COSTS OFF) EXECUTE p",
    ],
    "discard": ["DISCARD ALL", "discard /* all */ all", "DISCARD PLANS", "DISCARD SEQUENCES", "DISCARD TEMP", "RESET ALL"],
    "blocks": [
        "DO $$ BEGIN PERFORM set_config('my.one', 'do', false); END $$", "DO $$ BEGIN SET work_mem = '2MB'; END $$",
        "DO $d$ BEGIN RAISE EXCEPTION 'no'; END $d$", "DO $$ BEGIN INSERT INTO own_{me} VALUES (8, 'do'); END $$",
        "CREATE OR REPLACE FUNCTION made_{me}() RETURNS text LANGUAGE sql AS $$ SELECT set_config('my.two', 'made', false) $$", "SELECT made_{me}()",
    ],
    "sequences": [
        "SELECT nextval('kept')", "SELECT currval('kept')", "SELECT lastval()", "SELECT setval('kept', 7)", "DISCARD SEQUENCES",
    ],
    "functions": [
        "SELECT leaves_setting()", "SELECT leaves_lock({life})", "SELECT leaves_table()", "CALL leaves_channel()", "INSERT INTO triggering VALUES (1)",
        "SELECT * FROM leaving_view", "SELECT {life} <+> 3", "SELECT set_config('my.o' || 'ne', 'computed', false)",
    ],
    "definitions": [
        "CREATE TABLE made_{me} (a int)", "ALTER TABLE made_{me} ADD b text", "DROP TABLE IF EXISTS made_{me}", "SELECT * FROM made_{me}",
        "INSERT INTO made_{me} VALUES (1)", "CREATE INDEX ON made_{me} (a)", "ALTER TABLE made_{me} ALTER a TYPE bigint",
    ],
    "settings": [],
    "prepared": [],
    "portals": [],
    "copy": [],
    "function_call": [],
}
TRANSACTIONS = [
    "BEGIN", "BEGIN", "begin work", "START TRANSACTION", "BEGIN READ ONLY", "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "BEGIN READ WRITE", "START TRANSACTION READ ONLY, ISOLATION LEVEL REPEATABLE READ",
]
ENDS = ["COMMIT", "COMMIT", "END", "ROLLBACK", "ABORT", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN", "COMMIT WORK"]
WITHIN = [
    "SAVEPOINT a", "SAVEPOINT b", "ROLLBACK TO a", "ROLLBACK TO SAVEPOINT b", "RELEASE a", "SET TRANSACTION READ ONLY",
    "SET TRANSACTION READ WRITE", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SET CONSTRAINTS ALL IMMEDIATE", "SHOW transaction_read_only",
    "SELECT now() = transaction_timestamp()", "SELECT now() < clock_timestamp()",
]
PARAMETERS = [[], ["my.one", "bound"], ["work_mem", "3MB"], ["1", "x"], ["2", None], ["x" * 40_000, "y"], ["1"]]
PARAMETRIC = [
    "SELECT set_config($1, $2, false)", "SELECT 1 + $1::int, $2::text", "SELECT word FROM notes WHERE id = $1",
    "INSERT INTO own_{me} VALUES ($1, $2)", "SELECT $1", "SELECT a FROM own_{me} WHERE b = $1 ORDER BY a",
]
# OIDs and arguments: lower(text), int4pl, lower(text), int4pl, and a function that does not exist.
CALLS = [(870, ["UPPER"]), (177, ["1", "2"]), (870, [None]), (154, ["1", "0"]), (2, [])]


class Generator:
    """Draws the steps of a conversation; equal seeds and statuses draw equal steps."""

    def __init__(self, draw: random.Random):
        self.draw = draw
        self.kinds = draw.sample(list(KINDS), draw.randint(2, 4))
        self.lives = 0

    def once_in(self, many: int) -> bool:
        return self.draw.randrange(many) == 0

    def step(self, me: int, status: str, open_batch: bool, copying: bool) -> Step:
        step = self.unframed(me, status, open_batch, copying)
        if step.messages and self.once_in(5):
            size = len(step.bytes())
            step.cuts = sorted({self.draw.randrange(1, size) for _ in range(self.draw.randint(1, 3))} if size > 1 else [])
        return step

    def unframed(self, me: int, status: str, open_batch: bool, copying: bool) -> Step:
        if copying:
            return Step(me, "send", self.copy_data())
        if self.once_in(30):
            return self.end_session(me)
        if open_batch and not self.once_in(3):
            return Step(me, "send", [["S"]])
        messages = self.request(me, status)
        # Only data may follow a COPY.
        while self.once_in(4) and len(messages) < 30 and "FROM STDIN" not in str(messages):
            messages += self.request(me, status)
        return Step(me, "send", messages + self.flush(me, messages))

    def flush(self, me: int, messages: list) -> list:
        """Returns a Flush if an unfinished batch has effects on other sessions: the response proves the execution."""
        named = any(message[0] == "B" and message[2] for message in messages)
        lasts = named or LASTING.search(Step(me, "send", messages).sql())
        return [["H"]] if messages[-1][0] == "E" and lasts else []

    def end_session(self, me: int) -> Step:
        step = self.ending(me)
        # The next session uses other lock numbers, since the release of old locks may come later.
        self.lives += 10
        return step

    def ending(self, me: int) -> Step:
        act = self.draw.choice(["disconnect", "terminate", "send_and_disconnect", "send_and_disconnect"])
        if act != "send_and_disconnect":
            return Step(me, act)
        messages = self.request(me, "I")
        named = any(message[0] == "B" and message[2] for message in messages)
        if named or messages[0][0] not in "QP" or LASTING.search(Step(me, "send", messages).sql()):
            messages = [["Q", "SELECT pg_sleep(0.01)"]]
        return Step(me, "send_and_disconnect", messages)

    def request(self, me: int, status: str) -> list:
        if status == "E" and not self.once_in(3):
            return self.as_messages(self.draw.choice(["ROLLBACK", "ROLLBACK", "COMMIT", "ROLLBACK TO a", "ROLLBACK TO b"]))
        if status == "T" and self.once_in(4):
            return self.as_messages(self.draw.choice(ENDS))
        if status == "T" and self.once_in(5):
            return self.as_messages(self.draw.choice(WITHIN))
        if status == "I" and self.once_in(6):
            return self.as_messages(self.draw.choice(TRANSACTIONS))
        if self.once_in(6):
            return self.as_messages(self.draw.choice([OWN_STATE, OWN_STATE, "SELECT 1", "SELECT 1/0", "SELEC", LIST_PREPARED, ""]))
        kind = self.draw.choice(self.kinds)
        special = getattr(self, f"of_{kind}", None)
        if special:
            return special(me)
        if self.once_in(8):
            # A Query with several statements is a single transaction.
            two = self.statement(me), self.statement(me)
            return [["Q", "; ".join(two) + self.draw.choice(["", "; SELECT 1/0", "; ROLLBACK", "; COMMIT", "; BEGIN"])]]
        return self.as_messages(self.of_kind(kind, me))

    def of_kind(self, kind: str, me: int) -> str:
        if kind == "settings":
            return self.setting()
        return self.fill(self.draw.choice(KINDS[kind] or READS + WRITES), me)

    def fill(self, sql: str, me: int) -> str:
        # Lock numbers differ by session, since the locks of an ended session may be released later.
        return sql.replace("{me}", str(me)).replace("{n}", str(self.draw.randrange(6))).replace("{life}", str(1000 + self.lives + me))

    def statement(self, me: int) -> str:
        return self.of_kind(self.draw.choice(self.kinds), me)

    def as_messages(self, sql: str) -> list:
        """Messages that execute `sql`, in a random form of the protocol."""
        form = self.draw.randrange(12)
        if form < 5:
            return [["Q", sql]]
        parse, bind, run = ["P", "", sql], ["B", "", "", []], ["E", "", 0]
        if form < 8:
            return [parse, bind, ["D", "P", ""], run, ["S"]]
        if form == 8:
            return [parse, ["D", "S", ""], ["S"], bind, run, ["S"]]
        if form == 9:
            return [parse, bind, ["D", "P", ""], run, ["H"], ["S"]]
        if form == 10:
            return [parse, bind, run]
        return [parse, bind, ["D", "P", ""], ["E", "", self.draw.randint(1, 3)], ["S"]]

    def of_settings(self, _me: int) -> list:
        return self.as_messages(self.setting())

    def setting(self) -> str:
        name = self.draw.choice(list(SETTINGS))
        value = self.draw.choice(SETTINGS[name])
        match self.draw.randrange(13):
            case 5:
                return f"SET SESSION {name} TO {value}"
            case 6:
                return f"SET LOCAL {name} = {value}"
            case 7:
                return f"RESET {name}"
            case 8:
                # A backend that knows a custom setting shows an empty value, and others do not know the setting.
                return f"SELECT NULLIF(pg_catalog.current_setting('{name}', true), '')"
            case 9 if value.startswith("'"):
                return f"SELECT set_config('{name}', {value}, false)"
            case 10 if value.startswith("'"):
                return f"SELECT set_config('{name}', {value}, true)"
            case 11:
                return self.draw.choice([
                    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
                    "SET TIME ZONE 'Asia/Tokyo'", "SET NAMES 'UTF8'", "SET SCHEMA 'public'", "SET no_such_setting = 1",
                    "SET my.one = '" + "long " * self.draw.choice([100, 4000]) + "'",
                ])
            case 12:
                return "RESET ALL"
            case _:
                return f"SET {name} = {value}"

    def of_prepared(self, me: int) -> list:
        messages: list = []
        for _ in range(self.draw.randint(1, 3)):
            name = self.draw.choice(["", "s1", "s2", "s3"])
            match self.draw.randrange(8):
                case 0 | 1:
                    sql = self.draw.choice(PARAMETRIC) if self.once_in(2) else self.statement(me)
                    messages.append(["P", name, self.fill(sql, me)])
                case 2 | 3 | 4:
                    messages += [["B", "", name, self.draw.choice(PARAMETERS)], ["E", "", self.draw.choice([0, 0, 0, 1])]]
                case 5:
                    messages.append(["D", "S", name])
                case 6:
                    messages.append(["C", "S", name])
                case _:
                    messages.append(["H"])
        return messages + ([] if self.once_in(8) else [["S"]])

    def of_portals(self, me: int) -> list:
        messages: list = []
        for _ in range(self.draw.randint(1, 4)):
            portal = self.draw.choice(["", "c1", "c2"])
            match self.draw.randrange(9):
                case 0 | 1 | 2:
                    sql = self.draw.choice(["SELECT generate_series(1, 9)", "SELECT id FROM notes ORDER BY id", self.statement(me)])
                    messages += [["P", "", sql], ["B", portal, "", []]]
                case 3 | 4 | 5:
                    messages.append(["E", portal, self.draw.choice([0, 1, 2, 5])])
                case 6:
                    messages.append(["D", "P", portal])
                case 7:
                    messages.append(["C", "P", portal])
                case _:
                    messages.append(["H"])
        return messages + [["H"] if self.once_in(4) else ["S"]]

    def of_copy(self, me: int) -> list:
        sql = self.draw.choice([f"COPY own_{me} FROM STDIN", f"COPY own_{me} (a) FROM STDIN", f"COPY (SELECT * FROM own_{me} ORDER BY a, b) TO STDOUT",
                                "COPY (SELECT generate_series(1, 3)) TO STDOUT", "COPY nowhere FROM STDIN"])
        messages = [["Q", sql]] if self.once_in(2) else [["P", "", sql], ["B", "", "", []], ["E", "", 0]]
        if "FROM" in sql and messages[0][0] == "Q" and not self.once_in(3):
            return messages   # a later step sends the data
        if "own" in sql and "FROM" in sql:
            messages += self.copy_data()
            messages = [message for message in messages if message[0] not in "cf"] + [self.copy_end()]
        return messages + ([] if messages[0][0] == "Q" else [["S"]])

    def copy_data(self) -> list:
        lines = self.draw.choice(["1\tone\n", "1\tone\n2\ttwo\n", "3\n", "nonsense\n", "4\t" + "long " * 5000 + "\n", ""])
        messages = [["d", lines]] if lines else []
        return messages + ([] if self.once_in(4) else [self.copy_end()])

    def copy_end(self) -> list:
        return ["f", "enough"] if self.once_in(5) else ["c"]

    def of_function_call(self, _me: int) -> list:
        oid, arguments = self.draw.choice(CALLS)
        return [["F", oid, arguments]]
