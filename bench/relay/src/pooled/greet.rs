//! A client's way from its first packet to its first ReadyForQuery.

use std::io;

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest, hmac,
    pbkdf2::{self, PBKDF2_HMAC_SHA256},
    rand,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{Error, tls::SSL_REQUEST};

/// More than any packet of a bench's client needs.
const LONGEST: usize = 1024;
const ITERATIONS: u32 = 4096;

/// What a client begins with.
#[derive(PartialEq, Eq)]
pub enum First {
    /// It asks for TLS.
    Tls,
    /// Its StartupMessage; nothing in it matters here.
    Startup,
}

/// What all clients are told.
pub struct Greeter {
    pub tls: Option<TlsAcceptor>,
    verifier: Option<Verifier>,
    /// AuthenticationOk, the backends' parameters, a BackendKeyData that cancels nothing and ReadyForQuery.
    greeting: Vec<u8>,
}

/// What a server keeps of a password
/// (<https://www.rfc-editor.org/rfc/rfc5802#section-3>).
struct Verifier {
    salt: [u8; 16],
    stored_key: digest::Digest,
    server_key: hmac::Key,
}

impl Greeter {
    pub fn new(parameters: Vec<u8>, password: Option<&str>, tls: Option<TlsAcceptor>) -> Result<Self, Error> {
        let mut greeting = vec![b'R', 0, 0, 0, 8, 0, 0, 0, 0];
        greeting.extend(parameters);
        greeting.extend([b'K', 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 1, b'Z', 0, 0, 0, 5, b'I']);
        Ok(Self { tls, verifier: password.map(Verifier::of).transpose()?, greeting })
    }

    /// Asks for the password, if one is asked for, and says that all is well.
    pub async fn welcome(&self, client: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
        let Some(verifier) = &self.verifier else { return said(client, &self.greeting).await };
        said(client, &authentication(10, b"SCRAM-SHA-256\0\0")).await?;
        let initial = password(client).await?;
        // The mechanism's name, a length, the GS2 header (`n,,` or `y,,`), and then the message proper.
        let (Some(bare), Some(nonce)) = (after(&initial, b",,"), after(&initial, b",r=")) else {
            return Err(strange());
        };
        let mut ours = [0; 18];
        rand::fill(&mut ours).map_err(|_| strange())?;
        let nonce = [nonce, BASE64_STANDARD.encode(ours).as_bytes()].concat();
        let salt = BASE64_STANDARD.encode(verifier.salt);
        let challenge =
            [b"r=", &*nonce, b",s=", salt.as_bytes(), format!(",i={ITERATIONS}").as_bytes()].concat();
        said(client, &authentication(11, &challenge)).await?;
        let last = password(client).await?;
        let proof = last.windows(3).rposition(|bytes| bytes == b",p=").ok_or_else(strange)?;
        let (without_proof, proof) = (&last[..proof], &last[proof + 3..]);
        let message = [bare, b",", &*challenge, b",", without_proof].concat();
        let signature = verifier.check(&message, proof).ok_or_else(strange)?;
        let end = [b"v=", BASE64_STANDARD.encode(signature).as_bytes()].concat();
        said(client, &[authentication(12, &end), self.greeting.clone()].concat()).await
    }
}

impl Verifier {
    fn of(password: &str) -> Result<Self, Error> {
        let mut salt = [0; 16];
        rand::fill(&mut salt)?;
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        let iterations = ITERATIONS.try_into()?;
        pbkdf2::derive(PBKDF2_HMAC_SHA256, iterations, &salt, password.as_bytes(), &mut salted);
        let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        let server_key = hmac::sign(&salted, b"Server Key");
        Ok(Self {
            salt,
            stored_key: digest::digest(&digest::SHA256, client_key.as_ref()),
            server_key: hmac::Key::new(hmac::HMAC_SHA256, server_key.as_ref()),
        })
    }

    /// The server's signature, if the proof is right.
    fn check(&self, message: &[u8], proof: &[u8]) -> Option<hmac::Tag> {
        let proof = BASE64_STANDARD.decode(proof).ok()?;
        let stored = hmac::Key::new(hmac::HMAC_SHA256, self.stored_key.as_ref());
        let signature = hmac::sign(&stored, message);
        let key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let hashed = digest::digest(&digest::SHA256, &key);
        verify_slices_are_equal(hashed.as_ref(), self.stored_key.as_ref()).ok()?;
        Some(hmac::sign(&self.server_key, message))
    }
}

/// Reads a packet without a tag.
pub async fn first_packet(client: &mut (impl AsyncRead + Unpin)) -> io::Result<First> {
    let packet = packet(client, &[]).await?;
    Ok(if packet == SSL_REQUEST[4..] { First::Tls } else { First::Startup })
}

/// Says yes to a client that asked for TLS.
pub async fn upgrade(mut client: TcpStream, acceptor: &TlsAcceptor) -> io::Result<TlsStream<TcpStream>> {
    client.write_all(b"S").await?;
    acceptor.accept(client).await
}

/// Says no to a client that asked for TLS, and reads its StartupMessage.
pub async fn decline(client: &mut TcpStream) -> io::Result<()> {
    client.write_all(b"N").await?;
    first_packet(client).await.map(drop)
}

async fn password(client: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    packet(client, b"p").await
}

/// Reads a packet's body, in one read if it came in one: clients say nothing ahead of their turn here.
async fn packet(client: &mut (impl AsyncRead + Unpin), tag: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = [0; LONGEST];
    let mut read = 0;
    loop {
        match client.read(&mut bytes[read..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => read += more,
        }
        let untagged = bytes[..read].strip_prefix(tag).ok_or_else(strange)?;
        if let Some((length, body)) = untagged.split_first_chunk() {
            let length = (u32::from_be_bytes(*length) as usize).checked_sub(4).ok_or_else(strange)?;
            if body.len() >= length {
                return Ok(body[..length].to_vec());
            }
        }
    }
}

async fn said(client: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    client.write_all(bytes).await?;
    client.flush().await
}

fn authentication(code: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 8).expect("a bench's messages are short");
    [b"R", &length.to_be_bytes()[..], &code.to_be_bytes(), body].concat()
}

fn after<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    let start = bytes.windows(mark.len()).position(|window| window == mark)?;
    Some(&bytes[start + mark.len()..])
}

fn strange() -> io::Error {
    io::ErrorKind::InvalidData.into()
}
