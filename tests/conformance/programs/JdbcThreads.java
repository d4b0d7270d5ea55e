// PostgreSQL's JDBC driver in many threads, each with its own connections; prints the result of each as a line of JSON.
// Usage: java -cp postgresql.jar JdbcThreads.java PORT [TEST]

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

class JdbcThreads {
    static final int THREADS = 24;
    static final int TURNS = 40;
    static int port;

    static Connection connect(int me) throws SQLException {
        Properties properties = new Properties();
        properties.put("user", "postgres");
        properties.put("prepareThreshold", String.valueOf(me % 4 == 0 ? -1 : me % 4));
        properties.put("defaultRowFetchSize", String.valueOf(me % 3 == 0 ? 0 : 7));
        properties.put("ApplicationName", "thread " + me);
        if (me % 5 == 4) properties.put("preferQueryMode", "simple");
        return DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + port + "/postgres", properties);
    }

    static String one(Connection connection, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int at = 0; at < values.length; at++) statement.setObject(at + 1, values[at]);
            StringBuilder seen = new StringBuilder();
            try (ResultSet rows = statement.executeQuery()) {
                while (rows.next()) seen.append(seen.length() > 0 ? "," : "").append(rows.getString(1));
            }
            return seen.toString();
        }
    }

    static void execute(Connection connection, String sql) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            statement.execute(sql);
        }
    }

    /** Runs one turn of a thread; returns its result as a word. */
    static String turn(Connection connection, int me, int turn) throws SQLException {
        switch (turn % 8) {
            case 0:
                return one(connection, "select ?::int * 2", me * 1000 + turn);
            case 1:
                return one(connection, "select n from generate_series(1, ?::int) n", 3 + me % 20);
            case 2:
                connection.setAutoCommit(false);
                execute(connection, "insert into item (name, amount) values ('" + me + "-" + turn + "', " + me + ")");
                String within = one(connection, "select count(*) from item where amount = ?", me);
                if (turn % 16 == 2) connection.commit(); else connection.rollback();
                connection.setAutoCommit(true);
                return within + " then " + one(connection, "select count(*) from item where amount = ?", me);
            case 3:
                try {
                    return one(connection, "select 1 / ?::int", 0);
                } catch (SQLException error) {
                    return error.getSQLState();
                }
            case 4:
                return one(connection, "show application_name");
            case 5:
                // With a row limit, in a transaction: a portal that is executed again and again.
                connection.setAutoCommit(false);
                String all = one(connection, "select string_agg(n::text, ' ') from generate_series(1, 30) n group by n % 11 order by n % 11");
                connection.commit();
                connection.setAutoCommit(true);
                return all;
            case 6:
                try (PreparedStatement batch = connection.prepareStatement("update item set name = name || ? where amount = ?")) {
                    for (int at = 0; at < 5; at++) {
                        batch.setString(1, "" + at);
                        batch.setInt(2, me);
                        batch.addBatch();
                    }
                    int[] counts = batch.executeBatch();
                    return counts.length + " times " + counts[0];
                }
            default:
                execute(connection, "set work_mem = '" + (100 + me) + "kB'");
                return one(connection, "show work_mem");
        }
    }

    static String live(int me) {
        StringBuilder seen = new StringBuilder();
        try {
            Connection connection = connect(me);
            for (int turn = 0; turn < TURNS; turn++) {
                seen.append(turn(connection, me, turn)).append("; ");
                if (turn % 16 == 15) {
                    connection.close();
                    connection = connect(me);
                }
            }
            connection.close();
        } catch (SQLException error) {
            return "FAILED " + error.getSQLState() + " " + error.getMessage() + " after " + seen;
        }
        return seen.toString();
    }

    public static void main(String[] words) throws Exception {
        port = Integer.parseInt(words[0]);
        ExecutorService threads = Executors.newFixedThreadPool(THREADS);
        TreeMap<String, Future<String>> lives = new TreeMap<>();
        for (int at = 0; at < THREADS; at++) {
            int me = at;
            String name = String.format("thread %02d", me);
            if (words.length < 2 || words[1].equals(name)) lives.put(name, threads.submit(() -> live(me)));
        }
        for (var life : lives.entrySet()) {
            String result = life.getValue().get().replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", " ");
            System.out.println("{\"test\": \"" + life.getKey() + "\", \"result\": \"" + result + "\"}");
        }
        threads.shutdown();
    }
}
