//! A server in transaction pooling, with sessions beside the observed one: they leave session state behind and take the
//! backends that the observed session has just returned.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU32, Ordering},
};

use gatekeeper::testing::{
    sandbox::{APP, DATABASE, SandboxOptions, ServerTls, Single},
    wire::tag,
};

use super::{
    Frames, Stand,
    conversation::{Turn, hold},
    frames::{bind, execute, parse, query, sync},
    raw::Message,
    stand::{config, listener},
};

/// One server behind Gatekeeper, with a listener for each pool mode.
pub struct Shared {
    pub stand: Stand,
    ways: [Way; 3],
    aside: String,
    held: AtomicU32,
}

/// How a conversation is held through Gatekeeper.
#[derive(Debug, Clone, Copy)]
struct Way {
    name: &'static str,
    address: SocketAddr,
    /// Neighbors take the session's backend after each return.
    restless: bool,
}

/// A conversation with its subject.
pub struct Talk {
    pub what: &'static str,
    pub startup: Vec<(&'static str, &'static str)>,
    pub turns: Vec<Turn>,
}

/// A conversation: the concatenated parts.
pub fn talk(what: &'static str, parts: impl IntoIterator<Item = Vec<Turn>>) -> Talk {
    Talk { what, startup: Vec::new(), turns: parts.into_iter().flatten().collect() }
}

/// A Query with its response.
pub fn q(sql: &str) -> Vec<Turn> {
    answered(1, [query(sql)])
}

/// Messages and a Sync in one write, with the response.
pub fn batch<const N: usize>(messages: [Vec<u8>; N]) -> Vec<Turn> {
    answered(1, [messages.concat(), sync()])
}

/// Messages in one write, and responses up to the given number of ReadyForQuery.
pub fn answered<const N: usize>(ready: usize, messages: [Vec<u8>; N]) -> Vec<Turn> {
    let mut turns = vec![Turn::Send(messages.concat())];
    turns.extend((0..ready).map(|_| Turn::Receive(tag::backend::READY_FOR_QUERY)));
    turns
}

/// Messages in one write, and responses up to a message with the given tag.
pub fn until_tag<const N: usize>(last: u8, messages: [Vec<u8>; N]) -> Vec<Turn> {
    vec![Turn::Send(messages.concat()), Turn::Receive(last)]
}

/// Tables present at the beginning of every conversation.
const TABLES: &str = "\
CREATE TABLE notes (id serial PRIMARY KEY, word text);\
CREATE TABLE deferred (a int UNIQUE DEFERRABLE INITIALLY DEFERRED);\
CREATE SEQUENCE numbers;\
GRANT ALL ON ALL TABLES IN SCHEMA public TO app;\
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO app;\
ALTER TABLE notes OWNER TO app; ALTER SEQUENCE numbers OWNER TO app; ALTER TABLE deferred OWNER TO app;\
GRANT app_md5 TO app;";
const ANEW: &str = "TRUNCATE notes, deferred RESTART IDENTITY; ALTER SEQUENCE numbers RESTART; \
INSERT INTO notes (word) VALUES ('one'), ('two'), ('three')";

impl Shared {
    pub async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same with each statement in the audit log.
    pub async fn start_audited() -> Self {
        Self::start_with("\n[audit]\nfile = \"FOLDER/audit.jsonl\"\nlevel = \"statements\"\n").await
    }

    /// `rest` is the end of the configuration; `FOLDER` stands for the server's.
    async fn start_with(rest: &str) -> Self {
        let options = SandboxOptions { tls: ServerTls::Optional, ..SandboxOptions::default() };
        let server = Single::start(options).await.unwrap();
        let node = server.node();
        node.sql(DATABASE, TABLES).await.unwrap();
        std::fs::write(server.folder().join("app-password"), APP.password).unwrap();
        let transaction = listener(&server);
        let session = SocketAddr::new(transaction.ip(), transaction.port() + 1);
        let pool = |mode| {
            format!(
                "auth = {{ method = \"trust\" }}\n\
                 pool = {{ mode = \"{mode}\", size = 4, idle_timeout = \"1s\" }}"
            )
        };
        let more = format!(
            "[[listener]]\nname = \"session\"\nbind = \"{session}\"\nroute = \"primary\"\n{}",
            pool("session")
        ) + &rest.replace("FOLDER", &server.folder().display().to_string());
        let login = "login = { user = \"app\", password = { file = \"app-password\" } }";
        let config = config(&server, login, &pool("transaction"), &more);
        let aside = format!(
            "host={} port={} user=postgres dbname={DATABASE}",
            node.socket_dir().display(),
            node.address().port()
        );
        let stand = Stand::start(server, &config).await;
        let way = |name, address, restless| Way { name, address, restless };
        let ways = [
            way("session mode", session, false),
            way("transaction mode", transaction, false),
            way("transaction mode, another backend each time", transaction, true),
        ];
        Self { stand, ways, aside, held: AtomicU32::new(0) }
    }

    /// Holds each conversation directly and in all ways through Gatekeeper.
    ///
    /// # Panics
    /// When answers are not the same to the byte, process ids in notifications aside.
    pub async fn agree(&self, talks: impl IntoIterator<Item = Talk>) {
        let mut differences = Vec::new();
        for talk in talks {
            let direct = Way { name: "direct", address: self.stand.server.address(), restless: false };
            let expected = self.run_talk(&talk, direct).await.unwrap_or_else(|why| {
                panic!("{}: the server itself does not go along: {why}", talk.what);
            });
            for way in self.ways {
                match self.run_talk(&talk, way).await {
                    Ok(received) if received == expected => {}
                    Ok(received) => {
                        let at = received.iter().zip(&expected).take_while(|(one, two)| one == two).count();
                        let tail = |all: &[Message]| format!("{:?}", &all[at..all.len().min(at + 6)]);
                        differences.push(format!(
                            "{} ({}): answer {at} differs\n  through {}\n  direct  {}",
                            talk.what,
                            way.name,
                            tail(&received),
                            tail(&expected)
                        ));
                    }
                    Err(why) => differences.push(format!("{} ({}): {why}", talk.what, way.name)),
                }
            }
        }
        assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    }

    async fn run_talk(&self, talk: &Talk, way: Way) -> Result<Vec<Message>, String> {
        self.stand.server.node().sql(DATABASE, ANEW).await.unwrap();
        // A unique startup parameter gives each conversation a pool of its own.
        let number = self.held.fetch_add(1, Ordering::Relaxed).to_string();
        let (turns, startup, aside) = (talk.turns.clone(), talk.startup.clone(), self.aside.clone());
        #[expect(clippy::disallowed_methods, reason = "a panic is told along with what else differs")]
        let held = tokio::spawn(async move {
            let mut parameters = vec![("database", DATABASE), ("talk.number", &number)];
            parameters.extend(startup);
            let mut neighbours =
                if way.restless { Some(Neighbours::move_in(way.address, &parameters).await) } else { None };
            let client = Frames::log_in(way.address, APP, &parameters).await;
            hold(client, &turns, &aside, neighbours.as_mut()).await
        });
        held.await.map_err(|panic| {
            let payload = panic.into_panic();
            let text = payload.downcast_ref::<String>().cloned();
            text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
        })
    }
}

/// Two sessions of the same pool, one of them always in a transaction.
pub struct Neighbours {
    sessions: [Frames; 2],
    next: usize,
}

impl Neighbours {
    async fn move_in(address: SocketAddr, parameters: &[(&str, &str)]) -> Self {
        let mut parameters = parameters.to_vec();
        parameters.push(("application_name", "neighbour"));
        let mut sessions = Vec::new();
        for _ in 0..2 {
            let mut session = Frames::log_in(address, APP, &parameters).await;
            let settings =
                "SET timezone = 'Antarctica/Troll'; SET search_path = 'nowhere'; SET work_mem = '1MB'";
            let theirs = [query(settings), parse("s", "SELECT 'theirs'"), parse("t", "SELECT 1/0"), sync()];
            session.send(&theirs.concat()).await;
            for _ in 0..2 {
                session.read_until(tag::backend::READY_FOR_QUERY).await;
            }
            sessions.push(session);
        }
        let Ok(sessions) = sessions.try_into() else { unreachable!("there are two") };
        Self { sessions, next: 0 }
    }

    /// One session takes the idle backend and leaves an unnamed statement there; the other returns its backend.
    pub async fn stir(&mut self) {
        let [one, two] = &mut self.sessions;
        let (comes, goes) = if self.next == 0 { (one, two) } else { (two, one) };
        self.next = 1 - self.next;
        let work =
            [query("BEGIN"), bind("", "s", &[]), execute("", 0), parse("", "SELECT 'theirs too'"), sync()];
        comes.send(&work.concat()).await;
        for _ in 0..2 {
            comes.read_until(tag::backend::READY_FOR_QUERY).await;
        }
        goes.ask("ROLLBACK").await.unwrap();
    }
}
