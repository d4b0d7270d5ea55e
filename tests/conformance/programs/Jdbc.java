// Uses each feature of PostgreSQL's JDBC driver once; prints the result of each test as a line of JSON.
// Usage: java -cp postgresql.jar Jdbc.java PORT [TEST]

import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.PGStatement;

class Jdbc {
    interface Body {
        Object run(Connection connection) throws Exception;
    }

    static final Map<String, Body> TESTS = new LinkedHashMap<>();
    static int port;

    static Connection connect(String... options) throws SQLException {
        Properties properties = new Properties();
        properties.put("user", "postgres");
        for (int i = 0; i < options.length; i += 2) properties.put(options[i], options[i + 1]);
        return DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + port + "/postgres", properties);
    }

    static List<Object> read(ResultSet results) throws SQLException {
        List<Object> rows = new ArrayList<>();
        int columns = results.getMetaData().getColumnCount();
        while (results.next()) {
            List<Object> row = new ArrayList<>();
            for (int i = 1; i <= columns; i++) row.add(results.getString(i));
            rows.add(row);
        }
        return rows;
    }

    static List<Object> query(Connection connection, String text) throws SQLException {
        try (Statement statement = connection.createStatement(); ResultSet results = statement.executeQuery(text)) {
            return read(results);
        }
    }

    static void execute(Connection connection, String text) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(text);
        }
    }

    static String failure(Callable<?> action) throws Exception {
        try {
            action.call();
            return "no error";
        } catch (SQLException error) {
            return error.getSQLState() + " " + error.getMessage();
        }
    }

    static {
        TESTS.put("a statement that becomes a server's own", connection -> {
            List<Object> seen = new ArrayList<>();
            try (PreparedStatement statement = connection.prepareStatement("select ? * 2, ?::text")) {
                statement.unwrap(PGStatement.class).setPrepareThreshold(3);
                for (int i = 0; i < 10; i++) {
                    statement.setInt(1, i);
                    statement.setString(2, "turn " + i);
                    seen.add(read(statement.executeQuery()));
                    seen.add(statement.unwrap(PGStatement.class).isUseServerPrepare());
                }
            }
            return seen;
        });
        TESTS.put("server-side statements from the first use, in binary", ignored -> {
            List<Object> seen = new ArrayList<>();
            try (Connection connection = connect("prepareThreshold", "-1")) {
                for (int turn = 0; turn < 3; turn++) {
                    try (PreparedStatement statement = connection.prepareStatement("select ?::int8 + 1, ?::timestamptz at time zone 'UTC'")) {
                        statement.setLong(1, turn);
                        statement.setString(2, "2020-02-02 02:02:02+00");
                        seen.add(read(statement.executeQuery()));
                    }
                }
            }
            return seen;
        });
        TESTS.put("query modes", ignored -> {
            List<Object> seen = new ArrayList<>();
            for (String mode : new String[] {"simple", "extended", "extendedForPrepared", "extendedCacheEverything"}) {
                try (Connection connection = connect("preferQueryMode", mode); PreparedStatement statement = connection.prepareStatement("select ?::int + 1")) {
                    for (int i = 0; i < 7; i++) {
                        statement.setInt(1, i);
                        seen.add(read(statement.executeQuery()));
                    }
                }
            }
            return seen;
        });
        TESTS.put("a batch with generated keys", connection -> {
            List<Object> seen = new ArrayList<>();
            try (PreparedStatement statement = connection.prepareStatement("insert into item (name, amount) values (?, ?)", new String[] {"name", "amount"})) {
                for (int i = 0; i < 300; i++) {
                    statement.setString(1, "batch " + i);
                    statement.setInt(2, i);
                    statement.addBatch();
                }
                seen.add(Arrays.stream(statement.executeBatch()).sum());
                seen.add(read(statement.getGeneratedKeys()).size());
            }
            seen.add(query(connection, "select count(*), sum(amount) from item"));
            execute(connection, "truncate item");
            return seen;
        });
        TESTS.put("a batch written as one statement", ignored -> {
            try (Connection connection = connect("reWriteBatchedInserts", "true")) {
                try (PreparedStatement statement = connection.prepareStatement("insert into item (name, amount) values (?, ?)")) {
                    for (int i = 0; i < 100; i++) {
                        statement.setString(1, "rewritten " + i);
                        statement.setInt(2, i);
                        statement.addBatch();
                    }
                    statement.executeBatch();
                }
                List<Object> seen = query(connection, "select count(*), sum(amount) from item");
                execute(connection, "truncate item");
                return seen;
            }
        });
        TESTS.put("a batch that fails in its middle", connection -> {
            connection.setAutoCommit(false);
            List<Object> seen = new ArrayList<>();
            try (Statement statement = connection.createStatement()) {
                for (int i : new int[] {1, 2, 2, 3}) statement.addBatch("insert into item (name) values ('twice " + i + "')");
                seen.add(failure(statement::executeBatch));
            }
            seen.add(failure(() -> query(connection, "select 1")));
            connection.rollback();
            connection.setAutoCommit(true);
            seen.add(query(connection, "select count(*) from item"));
            return seen;
        });
        TESTS.put("generated keys of one insert", connection -> {
            try (Statement statement = connection.createStatement()) {
                statement.executeUpdate("insert into item (name, amount) values ('keyed', 7)", new String[] {"name", "amount"});
                List<Object> seen = read(statement.getGeneratedKeys());
                statement.execute("truncate item");
                return seen;
            }
        });
        TESTS.put("a cursor with a fetch size", connection -> {
            connection.setAutoCommit(false);
            long sum = 0;
            int rows = 0;
            try (PreparedStatement statement = connection.prepareStatement("select i from generate_series(1, ?) as i")) {
                statement.setInt(1, 10000);
                statement.setFetchSize(97);
                try (ResultSet results = statement.executeQuery()) {
                    while (results.next()) {
                        sum += results.getLong(1);
                        rows++;
                        if (rows == 5000) query(connection, "select 'in between'");
                    }
                }
            }
            connection.commit();
            connection.setAutoCommit(true);
            return rows + " " + sum;
        });
        TESTS.put("a cursor left early", connection -> {
            connection.setAutoCommit(false);
            try (Statement statement = connection.createStatement()) {
                statement.setFetchSize(10);
                ResultSet results = statement.executeQuery("select generate_series(1, 1000)");
                results.next();
                results.close();
            }
            connection.rollback();
            connection.setAutoCommit(true);
            return query(connection, "select count(*) from pg_cursors");
        });
        TESTS.put("savepoints", connection -> {
            connection.setAutoCommit(false);
            List<Object> seen = new ArrayList<>();
            execute(connection, "insert into item (name) values ('outer')");
            Savepoint first = connection.setSavepoint("first");
            execute(connection, "insert into item (name) values ('inner')");
            Savepoint second = connection.setSavepoint();
            seen.add(failure(() -> query(connection, "select 1/0")));
            connection.rollback(second);
            seen.add(query(connection, "select name from item order by name"));
            connection.rollback(first);
            connection.releaseSavepoint(first);
            connection.commit();
            connection.setAutoCommit(true);
            seen.add(query(connection, "select name from item order by name"));
            execute(connection, "truncate item");
            return seen;
        });
        TESTS.put("a savepoint for each statement", ignored -> {
            try (Connection connection = connect("autosave", "always")) {
                connection.setAutoCommit(false);
                List<Object> seen = new ArrayList<>();
                execute(connection, "insert into item (name) values ('saved')");
                seen.add(failure(() -> query(connection, "select 1/0")));
                seen.add(query(connection, "select name from item"));
                connection.rollback();
                return seen;
            }
        });
        TESTS.put("read only, by transaction and for the session", connection -> {
            List<Object> seen = new ArrayList<>();
            connection.setReadOnly(true);
            connection.setAutoCommit(false);
            seen.add(query(connection, "show transaction_read_only"));
            seen.add(failure(() -> { execute(connection, "insert into item (name) values ('x')"); return null; }));
            connection.rollback();
            connection.setAutoCommit(true);
            connection.setReadOnly(false);
            seen.add(query(connection, "show transaction_read_only"));
            try (Connection always = connect("readOnlyMode", "always")) {
                always.setReadOnly(true);
                for (int i = 0; i < 3; i++) seen.add(query(always, "show default_transaction_read_only"));
                seen.add(failure(() -> { execute(always, "insert into item (name) values ('x')"); return null; }));
                always.setReadOnly(false);
                seen.add(query(always, "show default_transaction_read_only"));
            }
            return seen;
        });
        TESTS.put("an isolation level for the session", connection -> {
            List<Object> seen = new ArrayList<>();
            try (Connection other = connect()) {
                connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
                for (int i = 0; i < 3; i++) {
                    seen.add(query(connection, "show transaction_isolation"));
                    seen.add(query(other, "show transaction_isolation"));
                }
                seen.add(connection.getTransactionIsolation());
            }
            return seen;
        });
        TESTS.put("schema, name and time zone of a client", connection -> {
            List<Object> seen = new ArrayList<>();
            try (Connection other = connect("currentSchema", "pg_catalog", "ApplicationName", "other")) {
                connection.setSchema("information_schema");
                connection.setClientInfo("ApplicationName", "renamed");
                for (int i = 0; i < 3; i++) {
                    for (Connection one : List.of(connection, other)) {
                        seen.add(one.getSchema());
                        seen.add(one.getClientInfo("ApplicationName"));
                        seen.add(query(one, "select current_setting('application_name'), current_setting('search_path')"));
                    }
                }
            }
            return seen;
        });
        TESTS.put("LISTEN", connection -> {
            List<Object> seen = new ArrayList<>();
            execute(connection, "listen news");
            try (Connection other = connect()) {
                for (int i = 0; i < 3; i++) execute(other, "notify news, 'number " + i + "'");
            }
            while (seen.size() < 3) {
                PGNotification[] heard = connection.unwrap(PGConnection.class).getNotifications(10_000);
                if (heard == null || heard.length == 0) return "nothing after ten seconds: " + seen;
                for (PGNotification one : heard) seen.add(one.getName() + " " + one.getParameter());
            }
            return seen;
        });
        TESTS.put("COPY", connection -> {
            var copies = connection.unwrap(PGConnection.class).getCopyAPI();
            execute(connection, "create temp table copied (i int, t text)");
            StringBuilder lines = new StringBuilder();
            for (int i = 0; i < 5000; i++) lines.append(i).append("\tline ").append(i).append('\n');
            long rows = copies.copyIn("copy copied from stdin", new StringReader(lines.toString()));
            StringWriter out = new StringWriter();
            copies.copyOut("copy (select * from copied order by i) to stdout", out);
            String failed = failure(() -> copies.copyIn("copy copied from stdin", new StringReader("x\n")));
            execute(connection, "drop table copied");
            return rows + " " + out.toString().equals(lines.toString()) + " " + failed;
        });
        TESTS.put("a plan whose result changes", connection -> {
            List<Object> seen = new ArrayList<>();
            execute(connection, "create table changing (a int); insert into changing values (1)");
            try (PreparedStatement statement = connection.prepareStatement("select * from changing")) {
                statement.unwrap(PGStatement.class).setPrepareThreshold(1);
                for (int i = 0; i < 3; i++) seen.add(read(statement.executeQuery()));
                execute(connection, "alter table changing add b text default 'new'");
                for (int i = 0; i < 3; i++) seen.add(failure(() -> seen.add(read(statement.executeQuery()))));
            }
            execute(connection, "drop table changing");
            return seen;
        });
        TESTS.put("DEALLOCATE ALL and DISCARD ALL under the driver", connection -> {
            List<Object> seen = new ArrayList<>();
            try (PreparedStatement statement = connection.prepareStatement("select ?::int")) {
                statement.unwrap(PGStatement.class).setPrepareThreshold(1);
                for (String end : new String[] {"deallocate all", "discard all"}) {
                    for (int i = 0; i < 2; i++) {
                        statement.setInt(1, i);
                        seen.add(failure(() -> seen.add(read(statement.executeQuery()))));
                    }
                    execute(connection, end);
                }
                seen.add(failure(() -> seen.add(read(statement.executeQuery()))));
            }
            return seen;
        });
        TESTS.put("a time limit for a statement", connection -> {
            try (Statement statement = connection.createStatement()) {
                statement.setQueryTimeout(1);
                String failed = failure(() -> statement.executeQuery("select pg_sleep(30)"));
                return List.of(failed, query(connection, "select 'usable'"));
            }
        });
        TESTS.put("a statement cancelled from another thread", connection -> {
            try (Statement statement = connection.createStatement(); Connection other = connect()) {
                Thread canceller = new Thread(() -> {
                    try {
                        String running = "select count(*) from pg_stat_activity where state = 'active' and query = 'select pg_sleep(31)'";
                        while (query(other, running).toString().equals("[[0]]")) Thread.onSpinWait();
                        statement.cancel();
                    } catch (SQLException error) {
                        throw new RuntimeException(error);
                    }
                });
                canceller.start();
                String failed = failure(() -> statement.executeQuery("select pg_sleep(31)"));
                canceller.join();
                return List.of(failed, query(connection, "select 'usable'"));
            }
        });
        TESTS.put("large objects", connection -> {
            connection.setAutoCommit(false);
            var objects = connection.unwrap(PGConnection.class).getLargeObjectAPI();
            long id = objects.createLO();
            try (var object = objects.open(id)) {
                object.write("plain bytes".getBytes());
                object.seek(5);
                String read = new String(object.read(6));
                object.close();
                objects.delete(id);
                connection.commit();
                connection.setAutoCommit(true);
                return read;
            }
        });
        TESTS.put("descriptions of tables and parameters", connection -> {
            List<Object> seen = new ArrayList<>();
            try (ResultSet columns = connection.getMetaData().getColumns(null, "public", "item", null)) {
                while (columns.next()) seen.add(columns.getString("COLUMN_NAME") + " " + columns.getString("TYPE_NAME"));
            }
            try (PreparedStatement statement = connection.prepareStatement("select * from item where amount > ? and name = ?")) {
                seen.add(statement.getParameterMetaData().getParameterTypeName(1));
                seen.add(statement.getMetaData().getColumnCount());
            }
            return seen;
        });
        TESTS.put("a crowd of clients", ignored -> {
            var threads = Executors.newFixedThreadPool(50);
            List<Callable<String>> clients = new ArrayList<>();
            for (int number = 0; number < 50; number++) {
                int client = number;
                clients.add(() -> {
                    try (Connection connection = connect("ApplicationName", "client " + client, "prepareThreshold", "2")) {
                        try (PreparedStatement statement = connection.prepareStatement("select ?::int, current_setting('application_name'), " + client)) {
                            for (int turn = 0; turn < 30; turn++) {
                                statement.setInt(1, turn);
                                String seen = read(statement.executeQuery()).toString();
                                String expected = "[[" + turn + ", client " + client + ", " + client + "]]";
                                if (!seen.equals(expected)) return "instead of " + expected + ": " + seen;
                            }
                        }
                        return "right";
                    }
                });
            }
            List<String> seen = new ArrayList<>();
            for (var each : threads.invokeAll(clients)) seen.add(each.get());
            threads.shutdown();
            return seen;
        });
    }

    static String json(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char each : text.toCharArray()) {
            if (each == '"' || each == '\\') out.append('\\').append(each);
            else if (each < ' ' || each > '~') out.append(String.format("\\u%04x", (int) each));
            else out.append(each);
        }
        return out.append('"').toString();
    }

    public static void main(String[] words) throws Exception {
        port = Integer.parseInt(words[0]);
        for (var test : TESTS.entrySet()) {
            if (words.length > 1 && !words[1].equals(test.getKey())) continue;
            String result;
            try (Connection connection = connect()) {
                result = String.valueOf(test.getValue().run(connection));
            } catch (Exception error) {
                result = "FAILED " + error;
            }
            System.out.println("{\"test\": " + json(test.getKey()) + ", \"result\": " + json(result) + "}");
        }
    }
}
