// Uses each feature of postgres.js once; prints the result of each test as a line of JSON.
// Usage: node postgres-js.cjs PORT [TEST]

const postgres = require("postgres");

const [port, only] = process.argv.slice(2);
const connect = (more = {}) =>
    postgres({ host: "127.0.0.1", port: Number(port), user: "postgres", database: "postgres", onnotice: () => {}, idle_timeout: 0, ...more });
const failure = async (promise) => promise.then(() => "no error", (error) => `${error.code} ${error.message}`);
const range = (count) => Array.from({ length: count }, (_, at) => at);

const tests = {
    async "a query and its types"(sql) {
        return sql`select ${1}::int as i, ${"ü"}::text as t, ${new Date(0)}::timestamptz as d, ${sql.json({ a: [1] })} as j, ${[1, 2]}::int[] as a`;
    },
    async "several queries at once over one connection"(sql) {
        return Promise.all(range(50).map((at) => sql`select ${at}::int as n, pg_backend_pid() is not null as there`));
    },
    async "the same statement many times"(sql) {
        const seen = [];
        for (const at of range(20)) seen.push((await sql`select ${at}::int * 2 as n`)[0].n);
        return seen;
    },
    async "queries in between fail"(sql) {
        const each = (at) => (at % 3 ? sql`select 10 / ${at}::int as n` : sql`select 1 / ${at - at}::int as n`);
        return Promise.all(range(12).map(async (at) => failure(each(at))));
    },
    async "a batch of inserts"(sql) {
        const rows = range(20).map((at) => ({ name: `name ${at}`, amount: at }));
        await sql`insert into item ${sql(rows, "name", "amount")}`;
        const kept = await sql`select name, amount from item order by amount`;
        await sql`truncate item`;
        return kept;
    },
    async "a transaction that is committed, and one that is not"(sql) {
        await sql.begin(async (tx) => tx`insert into item (name) values ('kept')`);
        const failed = await failure(sql.begin(async (tx) => { await tx`insert into item (name) values ('lost')`; await tx`select 1 / 0`; }));
        const kept = await sql`select name from item`;
        await sql`truncate item`;
        return [failed, kept];
    },
    async "savepoints"(sql) {
        return sql.begin(async (tx) => {
            const seen = [await failure(tx.savepoint(async (point) => point`select * from nowhere`))];
            return [...seen, await tx.savepoint((point) => point`select 'goes on' as it`)];
        });
    },
    async "a pipeline within a transaction"(sql) {
        return sql.begin((tx) => range(10).map((at) => tx`select ${at}::int as n`));
    },
    async "a cursor"(sql) {
        const seen = [];
        await sql`select generate_series(1, 25) as n`.cursor(10, (rows) => { seen.push(rows.map((row) => row.n)); });
        return seen;
    },
    async "a cursor that is left early"(sql) {
        const seen = [];
        for await (const rows of sql`select generate_series(1, 25) as n`.cursor(7)) { seen.push(rows.length); if (seen.length === 2) break; }
        return [seen, await sql`select 'and on' as it`];
    },
    async "two cursors at once"(sql) {
        const all = async (query) => { const seen = []; for await (const rows of query.cursor(4)) seen.push(rows.length); return seen; };
        return Promise.all([all(sql`select generate_series(1, 9) as n`), all(sql`select generate_series(1, 10) as n`)]);
    },
    async "row by row"(sql) {
        const seen = [];
        await sql`select generate_series(1, 5) as n`.forEach((row) => seen.push(row.n));
        return seen;
    },
    async "what a statement is like, before it is run"(sql) {
        const { string, types, columns } = await sql`select ${1}::int as i, ${"x"}::text as t`.describe();
        return [string, types, columns.map((column) => [column.name, column.type])];
    },
    async "simple queries of several statements"(sql) {
        return sql`select 1 as one; select 2 as two`.simple();
    },
    async "unsafe, with and without preparing"(sql) {
        return [await sql.unsafe("select $1::int as n", [7]), await sql.unsafe("select $1::int as n", [8], { prepare: true })];
    },
    async "without prepared statements"() {
        const sql = connect({ prepare: false, max: 1 });
        const seen = await Promise.all(range(10).map((at) => sql`select ${at}::int as n, ${`t${at}`}::text as t`));
        await sql.end();
        return seen;
    },
    async "a pool of connections"() {
        const sql = connect({ max: 6 });
        const seen = await Promise.all(range(60).map((at) => sql.begin(async (tx) => (await tx`select ${at}::int as n`)[0].n)));
        await sql.end();
        return seen;
    },
    async "a reserved connection keeps what is its own"() {
        const sql = connect({ max: 2 });
        const own = await sql.reserve();
        await own`create temp table mine (a int)`;
        await own`set work_mem = '3MB'`;
        await own`insert into mine values (1)`;
        const seen = [await own`select a from mine`, await own`show work_mem`, await failure(sql`select a from mine`)];
        own.release();
        await sql.end();
        return seen;
    },
    async "notifications"(sql) {
        const heard = [];
        const { unlisten } = await sql.listen("news", (text) => heard.push(text));
        for (const at of range(3)) await sql.notify("news", `number ${at}`);
        while (heard.length < 3) await new Promise((done) => setTimeout(done, 10));
        await unlisten();
        return heard;
    },
    async "copying in and out"(sql) {
        const writable = await sql`copy item (name, amount) from stdin`.writable();
        await new Promise((done, failed) => { writable.on("finish", done).on("error", failed); writable.write("a\t1\n"); writable.end("b\t2\n"); });
        const chunks = [];
        for await (const chunk of await sql`copy (select name, amount from item order by 2) to stdout`.readable()) chunks.push(chunk.toString());
        await sql`truncate item`;
        return chunks.join("");
    },
    async "a table that changes under a prepared statement"(sql) {
        await sql`create table changing (a int)`;
        const seen = [await sql`select * from changing`];
        await sql`alter table changing add b text`;
        seen.push(await failure(sql`select * from changing`), await sql`select * from changing`.catch((error) => error.code));
        await sql`drop table changing`;
        return seen;
    },
    async "a query that is canceled"(sql) {
        const query = sql`select pg_sleep(20)`;
        setTimeout(() => query.cancel(), 200);
        return [await failure(query), await sql`select 'and on' as it`];
    },
    async "settings of the connection"() {
        const sql = connect({ max: 1, connection: { application_name: "lab", statement_timeout: 4321, search_path: "pg_catalog" } });
        const seen = [await sql`show application_name`, await sql`show statement_timeout`, await sql`show search_path`];
        await sql.end();
        return seen;
    },
    async "large values"(sql) {
        const large = "x".repeat(300000);
        const [row] = await sql`select ${large}::text as t, length(${large}::text) as n`;
        return [row.t.length, row.n];
    },
};

// A rejected promise without a waiter does not end the program.
process.on("unhandledRejection", () => {});

(async () => {
    for (const [name, run] of Object.entries(tests)) {
        if (only && name !== only) continue;
        const sql = connect({ max: 1 });
        const result = await Promise.resolve(run(sql)).then((seen) => JSON.stringify(seen), (error) => `FAILED ${error.code} ${error.message}`);
        console.log(JSON.stringify({ test: name, result }));
        await sql.end({ timeout: 5 });
    }
})();
