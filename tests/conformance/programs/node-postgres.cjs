// Uses each feature of node-postgres once; prints the result of each test as a line of JSON.
// Usage: node node-postgres.cjs PORT [TEST]

const { pipeline } = require("node:stream/promises");
const { Readable } = require("node:stream");
const { once } = require("node:events");
const pg = require("pg");
const Cursor = require("pg-cursor");
const QueryStream = require("pg-query-stream");
const { from: copyFrom, to: copyTo } = require("pg-copy-streams");

const [port, only] = process.argv.slice(2);
const where = { host: "127.0.0.1", port: Number(port), user: "postgres", database: "postgres" };
const rows = async (client, ...query) => (await client.query(...query)).rows;

// An error as the server reported it.
const failure = async (promise) => promise.then(() => "no error", (error) => `${error.code} ${error.message}`);

const tests = {
    async "several results of one simple query"(client) {
        const results = await client.query("select 1 as one; select 2 as two, 'x' as x; create temp table t1 (i int)");
        return results.map((result) => [result.command, result.rows]);
    },

    async "a parameterised query and its types"(client) {
        const result = await client.query(
            "select $1::int as i, $2::text as t, $3::timestamptz as d, $4::jsonb as j, $5::int[] as a, $6::bytea as b",
            [1, "ü", new Date(0), { a: [1] }, [1, 2], Buffer.from([0, 255])],
        );
        return [result.rows, result.fields.map((field) => [field.name, field.dataTypeID])];
    },

    async "rows as arrays"(client) {
        return rows(client, { text: "select 1, $1::text", values: ["a"], rowMode: "array" });
    },

    async "a named statement, used again"(client) {
        const seen = [];
        for (let i = 0; i < 5; i++) seen.push(await rows(client, { name: "twice", text: "select $1::int * 2 as n", values: [i] }));
        return seen;
    },

    async "a named statement over changes of its table"(client) {
        const query = { name: "all", text: "select * from changing" };
        await client.query("create table changing (a int); insert into changing values (1)");
        const seen = [await rows(client, query)];
        await client.query("alter table changing add b text default 'new'");
        seen.push(await failure(client.query(query)));
        await client.query("drop table changing");
        return seen;
    },

    async "two clients with one name for different statements"(client, connect) {
        const other = await connect();
        const seen = [];
        for (let i = 0; i < 3; i++) {
            seen.push(await rows(client, { name: "mine", text: "select 'first' as who, $1::int as i", values: [i] }));
            seen.push(await rows(other, { name: "mine", text: "select 'second' as who, $1::text as i", values: [`${i}`] }));
        }
        return seen;
    },

    async "a name given to two texts"(client) {
        await client.query({ name: "same", text: "select 1 as one" });
        return failure(client.query({ name: "same", text: "select 2 as two" }));
    },

    async "SQL's own PREPARE and DEALLOCATE"(client) {
        await client.query("prepare p (int) as select $1 + 1 as n");
        const seen = [await rows(client, "execute p (1)"), await rows(client, "execute p (2)")];
        await client.query("deallocate p");
        return [...seen, await failure(client.query("execute p (3)"))];
    },

    async "DEALLOCATE ALL ends named statements"(client) {
        const query = { name: "gone", text: "select 5 as five" };
        const seen = [await rows(client, query)];
        await client.query("deallocate all");
        return [...seen, await failure(client.query(query))];
    },

    async "a failed transaction and a savepoint"(client) {
        await client.query("begin");
        await client.query("insert into item (name) values ('kept')");
        await client.query("savepoint before");
        const seen = [await failure(client.query("select 1/0")), await failure(client.query("select 1"))];
        await client.query("rollback to before");
        seen.push(await rows(client, "select name from item"));
        await client.query("rollback");
        return [...seen, await rows(client, "select count(*) from item")];
    },

    async "an error in a parameterised query leaves the client usable"(client) {
        const seen = [await failure(client.query("select $1::int", ["x"])), await failure(client.query("selec"))];
        return [...seen, await rows(client, "select $1::int as i", [3])];
    },

    async "settings stay with their client"(client, connect) {
        const other = await connect();
        await client.query("set time zone 'Asia/Tokyo'");
        await client.query("set search_path to pg_catalog");
        await other.query("set time zone 'America/Lima'");
        const show = "select current_setting('TimeZone') as zone, current_setting('search_path') as path";
        const seen = [];
        for (let i = 0; i < 3; i++) seen.push(await rows(client, show), await rows(other, show));
        return seen;
    },

    async "a setting that is rolled back"(client) {
        await client.query("begin");
        await client.query("set statement_timeout = '7s'");
        await client.query("rollback");
        await client.query("begin; set local statement_timeout = '8s'; commit");
        return rows(client, "show statement_timeout");
    },

    async "start-up options"(_client, connect) {
        const client = await connect({ options: "-c statement_timeout=1234 -c search_path=x,public", application_name: "lab" });
        const show = "select name, setting from pg_settings where name in ('statement_timeout', 'search_path', 'application_name') order by 1";
        const seen = [await rows(client, show)];
        await client.query("set statement_timeout = 1");
        await client.query("reset statement_timeout");
        return [...seen, await rows(client, show)];
    },

    async "temporary tables stay with their client"(client, connect) {
        const other = await connect();
        await client.query("create temp table mine as select 1 as i");
        await other.query("create temp table mine as select 2 as i");
        return [await rows(client, "select * from mine"), await rows(other, "select * from mine")];
    },

    async "session advisory locks"(client, connect) {
        const other = await connect();
        await client.query("select pg_advisory_lock(17)");
        const attempt = "select pg_try_advisory_lock(17) as locked";
        const seen = [await rows(other, attempt)];
        seen.push(await rows(client, "select pg_advisory_unlock(17) as unlocked"));
        seen.push(await rows(other, attempt));
        return seen;
    },

    async "a sequence's last value"(client, connect) {
        const other = await connect();
        await client.query("create sequence counter");
        await client.query("select nextval('counter')");
        await other.query("select nextval('counter')");
        await other.query("select nextval('counter')");
        const seen = [await rows(client, "select currval('counter') as n"), await rows(other, "select lastval() as n")];
        await client.query("drop sequence counter");
        return seen;
    },

    async "LISTEN and NOTIFY"(client, connect) {
        const other = await connect();
        await client.query("listen news");
        const heard = [];
        client.on("notification", (message) => heard.push([message.channel, message.payload]));
        for (const word of ["one", "two", "three"]) {
            const next = once(client, "notification");
            await other.query("select pg_notify('news', $1)", [word]);
            await next;
        }
        await client.query("unlisten *");
        await other.query("notify news, 'unheard'");
        await client.query("select 1");
        return heard;
    },

    async "a notice"(client) {
        const noticed = once(client, "notice");
        await client.query("do $$ begin raise notice 'hear %', 42; end $$");
        const [notice] = await noticed;
        return [notice.severity, notice.code, notice.message];
    },

    async "a cursor, read in parts"(client) {
        const cursor = client.query(new Cursor("select i from generate_series(1, $1) as i", [10]));
        const seen = [await cursor.read(4), await cursor.read(4), await cursor.read(4), await cursor.read(4)];
        await cursor.close();
        return [...seen, await rows(client, "select 'after' as word")];
    },

    async "a cursor, closed early"(client) {
        const cursor = client.query(new Cursor("select i from generate_series(1, 100000) as i"));
        const seen = [(await cursor.read(3)).length];
        await cursor.close();
        return [...seen, await rows(client, "select 'after' as word")];
    },

    async "a stream of rows"(client) {
        let sum = 0, count = 0;
        for await (const row of client.query(new QueryStream("select i from generate_series(1, 20000) as i", [], { batchSize: 500 }))) {
            sum += row.i;
            count += 1;
        }
        return [count, sum];
    },

    async "COPY in and out"(client) {
        await client.query("create temp table copied (i int, t text)");
        const lines = Array.from({ length: 5000 }, (_, i) => `${i}\tline ${i}\n`);
        await pipeline(Readable.from(lines), client.query(copyFrom("copy copied from stdin")));
        let bytes = 0;
        for await (const part of client.query(copyTo("copy (select * from copied order by i) to stdout"))) bytes += part.length;
        return [bytes, await rows(client, "select count(*), sum(i) from copied")];
    },

    async "COPY with a mistake in its data"(client) {
        await client.query("create temp table strict (i int)");
        const failed = await failure(pipeline(Readable.from(["1\n", "x\n"]), client.query(copyFrom("copy strict from stdin"))));
        return [failed, await rows(client, "select count(*) from strict")];
    },

    async "COPY given up by the client"(client) {
        await client.query("create temp table abandoned (i int)");
        const stream = client.query(copyFrom("copy abandoned from stdin"));
        stream.write("1\n");
        const failed = once(stream, "error").then(([error]) => error.message);
        stream.destroy(new Error("given up"));
        return [await failed, await rows(client, "select count(*) from abandoned")];
    },

    async "a cancelled statement"(client, connect) {
        const [{ pid }] = await rows(client, "select pg_backend_pid() as pid");
        const other = await connect();
        await client.query("begin");
        const [{ pid: now }] = await rows(client, "select pg_backend_pid() as pid");
        const failed = failure(client.query("select pg_sleep(30)"));
        while (!(await rows(other, "select pg_cancel_backend($1) as done from pg_stat_activity where pid = $1 and state = 'active' and query like '%pg_sleep(30)%'", [now])).length);
        const seen = [typeof pid, await failed];
        await client.query("rollback");
        return seen;
    },

    async "statement_timeout"(client) {
        await client.query("set statement_timeout = 50");
        const seen = [await failure(client.query("select pg_sleep(30)"))];
        return [...seen, await rows(client, "show statement_timeout")];
    },

    async "a transaction's isolation and access"(client) {
        await client.query("begin isolation level serializable read only deferrable");
        const seen = [await rows(client, "select current_setting('transaction_isolation') as i, current_setting('transaction_read_only') as r")];
        seen.push(await failure(client.query("insert into item (name) values ('x')")));
        await client.query("rollback");
        return [...seen, await rows(client, "show transaction_isolation")];
    },

    async "a role that is set"(client, connect) {
        const other = await connect();
        await client.query("create role worker");
        await client.query("set role worker");
        const who = "select current_user, session_user";
        const seen = [await rows(client, who), await rows(other, who), await rows(client, who)];
        await client.query("reset role");
        await client.query("drop role worker");
        return [...seen, await rows(client, who)];
    },

    async "queries queued before the first answer"(client) {
        return Promise.all(Array.from({ length: 50 }, (_, i) => rows(client, "select $1::int as i", [i])));
    },

    async "a crowd of clients"(_client, connect) {
        const clients = await Promise.all(Array.from({ length: 60 }, () => connect()));
        return Promise.all(clients.map(async (client, i) => {
            await client.query(`set application_name to 'client ${i}'`);
            const seen = new Set();
            for (let turn = 0; turn < 20; turn++) {
                const [row] = await rows(client, { name: "who", text: `select ${i} as i, current_setting('application_name') as name, $1::int as turn`, values: [turn] });
                if (row.turn !== turn) throw new Error("the answer to another question");
                seen.add(`${row.i} ${row.name}`);
            }
            return [...seen];
        }));
    },
};

async function main() {
    for (const [test, body] of Object.entries(tests)) {
        if (only && only !== test) continue;
        const clients = [];
        const connect = async (options) => {
            const client = new pg.Client({ ...where, ...options });
            client.on("error", () => {});
            clients.push(client);
            await client.connect();
            return client;
        };
        let result;
        try {
            result = JSON.stringify(await body(await connect(), connect));
        } catch (error) {
            result = `FAILED ${error.code ?? ""} ${error.message}`;
        }
        await Promise.all(clients.map((client) => client.end()));
        console.log(JSON.stringify({ test, result }));
    }
}

main();
