//! A server that plays PostgreSQL as far as a pool talks to it, and counts what is asked of it.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{
    tasks::Tasks,
    wire::{ErrorResponse, FirstPacket, Severity, SqlState, tag, write_frame},
};

pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) shared: Arc<Shared>,
    _tasks: Arc<Tasks>,
}

#[derive(Default)]
pub(super) struct Shared {
    /// Connections that are open, and the most that ever were.
    pub(super) open: AtomicUsize,
    pub(super) most: AtomicUsize,
    pub(super) accepted: AtomicUsize,
    pub(super) logins: AtomicUsize,
    /// Logins are answered with this SQLSTATE.
    pub(super) refusal: Mutex<Option<[u8; 5]>>,
    /// Logins with settings of the server's keepalive are refused, as by a pooler.
    pub(super) refuses_keepalive: AtomicBool,
    /// Maximum number of connections; a login beyond is refused with 53300. Zero means no limit.
    pub(super) capacity: AtomicUsize,
    /// Reported `max_connections`.
    pub(super) max_connections: AtomicUsize,
    /// Reported number of role changes; zero means no response.
    pub(super) counters: AtomicUsize,
    /// True if the database's functions leave more state than `DISCARD ALL` removes.
    pub(super) keeps_state: AtomicBool,
    /// Nobody is let in while this is set.
    pub(super) holds: watch::Sender<bool>,
    /// All connections of before the last change are cut off.
    pub(super) cut: watch::Sender<u64>,
    /// Said to all connections when it changes.
    pub(super) announcements: watch::Sender<Vec<u8>>,
    pub(super) queries: Mutex<Vec<String>>,
    /// DISCARD ALL fails.
    pub(super) stubborn: AtomicBool,
    /// Value of `in_hot_standby` at a login; `None` as before PostgreSQL 14.
    pub(super) hot_standby: Mutex<Option<&'static str>>,
    /// The time zone reported at a login.
    pub(super) zone: Mutex<String>,
    /// Answer to the query for the node's identity: true for a standby, and the start time.
    pub(super) identity: Mutex<Option<(bool, i64)>>,
    /// Process ids for which a cancel request came.
    pub(super) cancelled: Mutex<HashSet<i32>>,
    /// Cancel requests are kept open while this is set.
    pub(super) holds_cancels: watch::Sender<bool>,
}

struct Open(Arc<Shared>);

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tasks, shared) = (Arc::new(Tasks::new()), Arc::new(Shared::default()));
        let (guests, playing) = (Arc::downgrade(&tasks), Arc::clone(&shared));
        tasks.spawn("pretended server", async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let Some(tasks) = guests.upgrade() else { return };
                let shared = Arc::clone(&playing);
                tasks.spawn("pretended backend", async move {
                    let mut cut = shared.cut.subscribe();
                    let connection = Open::count(&shared);
                    tokio::select! {
                        _ = serve(tcp, Arc::clone(&shared)) => {}
                        _ = cut.changed() => {}
                    }
                    drop(connection);
                });
            }
        });
        Self { address, shared, _tasks: tasks }
    }

    pub(super) fn open(&self) -> usize {
        self.shared.open.load(SeqCst)
    }

    pub(super) fn accepted(&self) -> usize {
        self.shared.accepted.load(SeqCst)
    }

    pub(super) fn logins(&self) -> usize {
        self.shared.logins.load(SeqCst)
    }

    pub(super) fn refuse(&self, sqlstate: Option<&[u8; 5]>) {
        *self.shared.refusal.lock().unwrap() = sqlstate.copied();
    }

    pub(super) fn says_it_is(&self, identity: Option<(bool, i64)>) {
        *self.shared.identity.lock().unwrap() = identity;
    }

    pub(super) fn hold(&self, holds: bool) {
        self.shared.holds.send_replace(holds);
    }

    pub(super) fn cut_all(&self) {
        self.shared.cut.send_modify(|cut| *cut += 1);
    }

    pub(super) fn queries(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.queries.lock().unwrap())
    }
}

impl Open {
    fn count(shared: &Arc<Shared>) -> Self {
        let open = shared.open.fetch_add(1, SeqCst) + 1;
        shared.most.fetch_max(open, SeqCst);
        shared.accepted.fetch_add(1, SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
    }
}

async fn serve(mut tcp: TcpStream, shared: Arc<Shared>) -> Option<()> {
    match first_packet(&mut tcp).await? {
        FirstPacket::CancelRequest(key) => {
            shared.cancelled.lock().unwrap().insert(key.pid());
            shared.holds_cancels.subscribe().wait_for(|holds| !holds).await.ok()?;
            return None;
        }
        FirstPacket::Startup(startup) => {
            let has_keepalive = startup.get("tcp_keepalives_idle") == Some(b"30");
            if has_keepalive && shared.refuses_keepalive.load(SeqCst) {
                let mut refusal = Vec::new();
                ErrorResponse::new(
                    Severity::Fatal,
                    SqlState::PROTOCOL_VIOLATION,
                    "unsupported startup parameter",
                )
                .write(&mut refusal);
                tcp.write_all(&refusal).await.ok()?;
                return None;
            }
        }
        other => panic!("a StartupMessage was awaited: {other:?}"),
    }
    shared.holds.subscribe().wait_for(|holds| !holds).await.ok()?;
    let mut words = Vec::new();
    if let Some(sqlstate) = *shared.refusal.lock().unwrap() {
        ErrorResponse::new(Severity::Fatal, SqlState::new(sqlstate), "not now").write(&mut words);
    }
    let capacity = shared.capacity.load(SeqCst);
    if capacity > 0 && shared.open.load(SeqCst) > capacity {
        ErrorResponse::new(Severity::Fatal, SqlState::new(*b"53300"), "too many clients").write(&mut words);
    }
    if !words.is_empty() {
        tcp.write_all(&words).await.ok()?;
        return None;
    }
    let pid = i32::try_from(shared.logins.fetch_add(1, SeqCst)).unwrap() + 1;
    words.extend_from_slice(b"R\0\0\0\x08\0\0\0\0");
    let zone = format!("TimeZone\0{}\0", shared.zone.lock().unwrap());
    write_frame(&mut words, tag::backend::PARAMETER_STATUS, |body| body.extend_from_slice(zone.as_bytes()));
    if let Some(value) = *shared.hot_standby.lock().unwrap() {
        let status = format!("in_hot_standby\0{value}\0");
        write_frame(&mut words, tag::backend::PARAMETER_STATUS, |body| {
            body.extend_from_slice(status.as_bytes())
        });
    }
    write_frame(&mut words, tag::backend::BACKEND_KEY_DATA, |body| {
        body.extend_from_slice(&pid.to_be_bytes());
        body.extend_from_slice(&[1, 2, 3, 4]);
    });
    words.extend_from_slice(b"Z\0\0\0\x05I");
    tcp.write_all(&words).await.ok()?;
    let mut announcements = shared.announcements.subscribe();
    let mut status = b'I';
    loop {
        let tag = tokio::select! {
            tag = tcp.read_u8() => tag.ok()?,
            changed = announcements.changed() => {
                changed.ok()?;
                let words = announcements.borrow_and_update().clone();
                tcp.write_all(&words).await.ok()?;
                continue;
            }
        };
        let length = tcp.read_u32().await.ok()?;
        let mut body = vec![0; length as usize - 4];
        tcp.read_exact(&mut body).await.ok()?;
        let mut answer = Vec::new();
        match tag {
            tag::frontend::SYNC => {}
            tag::frontend::TERMINATE => return None,
            tag::frontend::QUERY => {
                body.pop();
                let query = String::from_utf8(body).unwrap();
                let refused = query == "DISCARD ALL" && shared.stubborn.load(SeqCst);
                status = match query.as_str() {
                    "BEGIN" => b'T',
                    "ROLLBACK" => b'I',
                    _ => status,
                };
                let asked = query.starts_with("SELECT pg_is_in_recovery()");
                if let Some((standby, started)) = *shared.identity.lock().unwrap()
                    && asked
                {
                    write_frame(&mut answer, tag::backend::DATA_ROW, |body| {
                        let role = if standby { ("t", "on") } else { ("f", "off") };
                        let started = started.to_string();
                        let columns = [role.0, role.1, started.as_str(), "10.0.0.1", "5432"];
                        body.extend_from_slice(&(columns.len() as i16).to_be_bytes());
                        for column in columns {
                            body.extend_from_slice(&(column.len() as i32).to_be_bytes());
                            body.extend_from_slice(column.as_bytes());
                        }
                    });
                }
                let limit = shared.max_connections.load(SeqCst);
                let limit_asked = query.contains("max_connections");
                if limit_asked && limit > 0 {
                    write_frame(&mut answer, tag::backend::DATA_ROW, |body| {
                        let columns = [limit.to_string(), "3".to_owned(), String::new()];
                        body.extend_from_slice(&(columns.len() as i16).to_be_bytes());
                        for column in columns {
                            body.extend_from_slice(&(column.len() as i32).to_be_bytes());
                            body.extend_from_slice(column.as_bytes());
                        }
                    });
                }
                let counters = shared.counters.load(SeqCst);
                let watches = query.contains("pg_stat_get_tuples");
                if watches && counters > 0 {
                    write_frame(&mut answer, tag::backend::DATA_ROW, |body| {
                        body.extend_from_slice(&8_i16.to_be_bytes());
                        for column in [counters, 0, 0, 0, 0, 0, 0, 0].map(|counter| counter.to_string()) {
                            body.extend_from_slice(&(column.len() as i32).to_be_bytes());
                            body.extend_from_slice(column.as_bytes());
                        }
                    });
                }
                let reseeds = query.contains("setseed");
                if reseeds {
                    let keeps = shared.keeps_state.load(SeqCst);
                    write_frame(&mut answer, tag::backend::DATA_ROW, |body| {
                        body.extend_from_slice(b"\0\x02\0\0\0\0\0\0\0\x01");
                        body.push(if keeps { b't' } else { b'f' });
                    });
                }
                if refused || (asked && answer.is_empty()) {
                    ErrorResponse::new(Severity::Error, SqlState::new(*b"25001"), "cannot")
                        .write(&mut answer);
                } else {
                    write_frame(&mut answer, tag::backend::COMMAND_COMPLETE, |body| {
                        body.extend_from_slice(query.as_bytes());
                        body.push(0);
                    });
                }
                if !limit_asked && !watches && !reseeds {
                    shared.queries.lock().unwrap().push(query);
                }
            }
            other => panic!("nobody says {}", char::from(other)),
        }
        answer.extend_from_slice(&[b'Z', 0, 0, 0, 5, status]);
        tcp.write_all(&answer).await.ok()?;
    }
}

async fn first_packet(tcp: &mut TcpStream) -> Option<FirstPacket> {
    let mut unread = Vec::new();
    loop {
        if let Some((packet, _)) = FirstPacket::read(&unread).unwrap() {
            return Some(packet);
        }
        if tcp.read_buf(&mut unread).await.ok()? == 0 {
            return None;
        }
    }
}
