//! Logs in to the server, once for each backend and before there is anything else to do.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use postgres_protocol::{
    authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    message::frontend,
};

use super::Account;
use crate::Error;

/// A backend that is idle, and what it said of itself.
pub struct Login {
    pub stream: TcpStream,
    /// Its ParameterStatus messages, as they came.
    pub greeting: Vec<u8>,
}

/// Logs in by SCRAM-SHA-256, or as it is when the server asks for nothing.
pub fn login(target: SocketAddr, account: &Account<'_>) -> Result<Login, Error> {
    let mut stream = TcpStream::connect(target)?;
    stream.set_nodelay(true)?;
    let parameters = [("user", account.user), ("database", account.database), ("client_encoding", "UTF8")];
    let mut request = Default::default();
    frontend::startup_message(parameters, &mut request)?;
    stream.write_all(&request)?;
    let mut scram = ScramSha256::new(account.password.as_bytes(), ChannelBinding::unsupported());
    let mut greeting = Vec::new();
    loop {
        let (tag, body) = message(&mut stream)?;
        let mut answer = Default::default();
        match (tag, body.first_chunk().map(|code| u32::from_be_bytes(*code))) {
            (b'R', Some(10)) => frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut answer)?,
            (b'R', Some(11)) => {
                scram.update(&body[4..])?;
                frontend::sasl_response(scram.message(), &mut answer)?;
            }
            (b'R', Some(12)) => scram.finish(&body[4..])?,
            (b'R', Some(0)) | (b'K', _) => {}
            (b'S', _) => {
                greeting.push(tag);
                greeting.extend(u32::try_from(body.len() + 4)?.to_be_bytes());
                greeting.extend(&body);
            }
            (b'Z', _) => break,
            _ => return Err(format!("the server said {}", String::from_utf8_lossy(&body)).into()),
        }
        stream.write_all(&answer)?;
    }
    stream.set_nonblocking(true)?;
    Ok(Login { stream, greeting })
}

fn message(stream: &mut TcpStream) -> Result<(u8, Vec<u8>), Error> {
    let mut header = [0; 5];
    stream.read_exact(&mut header)?;
    let [tag, length @ ..] = header;
    let mut body =
        vec![0; (u32::from_be_bytes(length) as usize).checked_sub(4).ok_or("a length below four")?];
    stream.read_exact(&mut body)?;
    Ok((tag, body))
}
