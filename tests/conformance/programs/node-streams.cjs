// pg-cursor and pg-query-stream, read in parts of many sizes; prints the result of each test as a line of JSON.
// Usage: node node-streams.cjs PORT [TEST]

const pg = require("pg");
const Cursor = require("pg-cursor");
const QueryStream = require("pg-query-stream");

const [port, only] = process.argv.slice(2);
const where = { host: "127.0.0.1", port: Number(port), user: "postgres", database: "postgres" };
const failure = async (promise) => promise.then(() => "no error", (error) => `${error.code} ${error.message}`);
const numbers = (count) => `select n, 'row ' || n as word from generate_series(1, ${count}) n`;
const drain = async (stream) => { const seen = []; for await (const row of stream) seen.push(row.n); return seen; };
const tests = {};

for (const total of [0, 1, 9, 10, 11, 1000]) {
    for (const part of [1, 10, 5000]) {
        if (total > 100 && part === 1) continue;
        tests[`a cursor over ${total} rows, ${part} at a time`] = async (client) => {
            const cursor = client.query(new Cursor(numbers(total)));
            const seen = [];
            for (;;) {
                const rows = await cursor.read(part);
                seen.push(rows.length);
                if (!rows.length) break;
            }
            await cursor.close();
            return [seen, (await client.query("select 'and on' as it")).rows];
        };
        tests[`a stream of ${total} rows, ${part} at a time`] = async (client) => {
            const seen = await drain(client.query(new QueryStream(numbers(total), [], { batchSize: part, highWaterMark: part })));
            return [seen.length, seen.at(-1) ?? null, (await client.query("select 'and on' as it")).rows];
        };
    }
}

Object.assign(tests, {
    async "a cursor with parameters"(client) {
        const cursor = client.query(new Cursor("select n from generate_series(1, $1::int) n where n > $2", [20, 5]));
        return [await cursor.read(7), await cursor.read(100), await cursor.close()];
    },
    async "a cursor that is closed before its end"(client) {
        const cursor = client.query(new Cursor(numbers(100)));
        const first = await cursor.read(3);
        await cursor.close();
        return [first, (await client.query("select 1 as one")).rows];
    },
    async "a cursor that is closed unread"(client) {
        const cursor = client.query(new Cursor(numbers(100)));
        await cursor.close();
        return (await client.query("select 1 as one")).rows;
    },
    async "a cursor over what fails at once"(client) {
        const cursor = client.query(new Cursor("select * from nowhere"));
        return [await failure(cursor.read(1)), (await client.query("select 1 as one")).rows];
    },
    async "a cursor over what fails after some rows"(client) {
        const cursor = client.query(new Cursor("select 100 / (5 - n) as q from generate_series(1, 10) n"));
        return [await cursor.read(2), await failure(cursor.read(10)), (await client.query("select 1 as one")).rows];
    },
    async "cursors one behind another"(client) {
        const seen = [];
        for (let turn = 0; turn < 10; turn++) {
            const cursor = client.query(new Cursor(numbers(turn)));
            seen.push((await cursor.read(4)).length, (await cursor.read(100)).length);
            await cursor.close();
        }
        return seen;
    },
    async "a cursor with a query waiting behind it"(client) {
        const cursor = client.query(new Cursor(numbers(8)));
        const behind = client.query("select 'behind' as it");
        const seen = [await cursor.read(5), await cursor.read(5)];
        await cursor.close();
        return [...seen, (await behind).rows];
    },
    async "a cursor within a transaction, among writes"(client) {
        await client.query("begin");
        await client.query("insert into item (name, amount) select 'c' || n, n from generate_series(1, 9) n");
        const cursor = client.query(new Cursor("select name from item order by amount"));
        const seen = [await cursor.read(4), await cursor.read(4)];
        await cursor.close();
        await client.query("rollback");
        return [...seen, (await client.query("select count(*) from item")).rows];
    },
    async "a cursor over a write"(client) {
        const cursor = client.query(new Cursor("insert into item (name) select 'w' || n from generate_series(1, 6) n returning name"));
        const seen = [await cursor.read(2), await cursor.read(10)];
        await cursor.close();
        seen.push((await client.query("select count(*) from item")).rows);
        await client.query("truncate item");
        return seen;
    },
    async "a stream that is destroyed"(client) {
        const stream = client.query(new QueryStream(numbers(1000), [], { batchSize: 10 }));
        const seen = [];
        for await (const row of stream) { seen.push(row.n); if (seen.length === 15) break; }
        return [seen, (await client.query("select 1 as one")).rows];
    },
    async "a stream with parameters, in a transaction"(client) {
        await client.query("begin read only");
        const seen = await drain(client.query(new QueryStream("select n from generate_series(1, $1::int) n", [250], { batchSize: 40 })));
        await client.query("commit");
        return seen.length;
    },
    async "a stream over what fails"(client) {
        const seen = await failure(drain(client.query(new QueryStream("select 1 / (3 - n) as n from generate_series(1, 9) n", [], { batchSize: 1 }))));
        return [seen, (await client.query("select 1 as one")).rows];
    },
    async "streams of several clients at once"(_client, connect) {
        const clients = [await connect(), await connect(), await connect()];
        const seen = await Promise.all(clients.map((client, at) => drain(client.query(new QueryStream(numbers(100 + at), [], { batchSize: 9 })))));
        return seen.map((rows) => rows.length);
    },
    async "rows as arrays"(client) {
        const cursor = client.query(new Cursor(numbers(3), [], { rowMode: "array" }));
        return [await cursor.read(2), await cursor.read(2), await cursor.close()];
    },
});

// A rejected promise without a waiter does not end the program.
process.on("unhandledRejection", () => {});

(async () => {
    for (const [name, run] of Object.entries(tests)) {
        if (only && name !== only) continue;
        const clients = [];
        const connect = async () => {
            const client = new pg.Client(where);
            client.on("error", () => {});
            await client.connect();
            clients.push(client);
            return client;
        };
        const limit = new Promise((_done, failed) => setTimeout(() => failed(new Error("no end within 10 s")), 10000).unref());
        const work = connect().then((client) => run(client, connect));
        const result = await Promise.race([work, limit]).then((seen) => JSON.stringify(seen), (error) => `FAILED ${error.code} ${error.message}`);
        console.log(JSON.stringify({ test: name, result }));
        for (const client of clients) client.connection.stream.destroy();
    }
    process.exit(0);
})();
