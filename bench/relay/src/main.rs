//! The yardsticks of the benches: what it costs to carry bytes between clients and a server, and nothing more.
//!
//! - [`session`]: each client has a connection of its own and nothing is looked at. The floor for session mode.
//! - [`pooled`]: clients share a few backends by transaction; nothing is looked at but the end of the transaction. The
//!   floor for transaction mode.
//!
//! ```text
//! bare-relay LISTEN TARGET [--workers N] [--cert PEM --key PEM] [--ca PEM]
//! bare-relay LISTEN TARGET --pool N --user U --password P --database D [--auth trust|scram] [--cert PEM --key PEM]
//! ```

mod pooled;
mod session;
mod tls;

use std::{collections::HashMap, env, net::SocketAddr, thread};

type Error = Box<dyn std::error::Error + Send + Sync>;

const USAGE: &str = "usage: bare-relay LISTEN TARGET [--workers N] [--cert PEM --key PEM] [--ca PEM]
       bare-relay LISTEN TARGET --pool N --user U --password P --database D [--auth trust|scram] [--cert PEM --key PEM]";

fn main() -> Result<(), Error> {
    let mut words = env::args().skip(1);
    let listen: SocketAddr = words.next().ok_or(USAGE)?.parse()?;
    let target: SocketAddr = words.next().ok_or(USAGE)?.parse()?;
    let mut options = HashMap::new();
    while let Some(name) = words.next() {
        options.insert(name, words.next().ok_or(USAGE)?);
    }
    let option = |name: &str| options.get(name).map(String::as_str);
    let clients = match (option("--cert"), option("--key")) {
        (Some(cert), Some(key)) => Some(tls::acceptor(cert, key)?),
        _ => None,
    };
    if let Some(size) = option("--pool") {
        let account = pooled::Account {
            user: option("--user").ok_or(USAGE)?,
            password: option("--password").ok_or(USAGE)?,
            database: option("--database").ok_or(USAGE)?,
        };
        let asks = option("--auth") == Some("scram");
        return pooled::run(listen, target, size.parse()?, &account, asks, clients);
    }
    let workers = match option("--workers") {
        Some(count) => count.parse()?,
        None => thread::available_parallelism()?.get(),
    };
    let server = option("--ca").map(tls::connector).transpose()?;
    session::run(listen, workers, session::Legs { target, clients, server })
}
