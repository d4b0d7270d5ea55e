//! The texts that travel: attributes with a letter, an equals sign and a value, between commas.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use super::{
    channel_binding::Flag,
    error::ScramError,
    keys::{KEY_BYTES, MAX_ITERATIONS},
};

/// `n=…,r=nonce` behind its GS2 header.
pub(super) struct ClientFirst<'a> {
    pub(super) flag: Flag,
    pub(super) bare: &'a str,
    pub(super) nonce: &'a str,
}

/// `r=nonce,s=salt,i=iterations`.
pub(super) struct ServerFirst<'a> {
    pub(super) nonce: &'a str,
    pub(super) salt: Vec<u8>,
    pub(super) iterations: u32,
}

/// `c=binding,r=nonce,p=proof`.
pub(super) struct ClientFinal<'a> {
    pub(super) without_proof: &'a str,
    pub(super) binding: &'a str,
    pub(super) nonce: &'a str,
    pub(super) proof: [u8; KEY_BYTES],
}

impl<'a> ClientFirst<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, ScramError> {
        let text = text(message)?;
        let (flag, behind) = text.split_once(',').ok_or(ScramError::Malformed("channel binding flag"))?;
        let flag = match flag {
            "n" => Flag::Unavailable,
            "y" => Flag::NotOffered,
            "p=tls-server-end-point" => Flag::EndPoint,
            _ if flag.starts_with("p=") => return Err(ScramError::Unsupported("channel binding type")),
            _ => return Err(ScramError::Malformed("channel binding flag")),
        };
        let (identity, bare) =
            behind.split_once(',').ok_or(ScramError::Malformed("authorization identity"))?;
        match identity {
            "" => {}
            _ if identity.starts_with("a=") => return Err(ScramError::Unsupported("authorization identity")),
            _ => return Err(ScramError::Malformed("authorization identity")),
        }
        if bare.starts_with("m=") {
            return Err(ScramError::Unsupported("mandatory extension"));
        }
        let mut attributes = Attributes(Some(bare));
        // PostgreSQL goes by the user of the StartupMessage.
        attributes.take('n', "user name")?;
        let nonce = attributes.take('r', "nonce")?;
        check_nonce(nonce)?;
        attributes.ignore_extensions()?;
        Ok(Self { flag, bare, nonce })
    }
}

impl<'a> ServerFirst<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, ScramError> {
        let text = text(message)?;
        if text.starts_with("m=") {
            return Err(ScramError::Unsupported("mandatory extension"));
        }
        let mut attributes = Attributes(Some(text));
        let nonce = attributes.take('r', "nonce")?;
        check_nonce(nonce)?;
        let salt = attributes.take('s', "salt")?;
        let salt = BASE64.decode(salt).map_err(|_| ScramError::Malformed("salt"))?;
        let iterations = attributes.take('i', "iterations")?;
        attributes.ignore_extensions()?;
        let iterations: u64 = iterations.parse().map_err(|_| ScramError::Malformed("iterations"))?;
        let iterations = match u32::try_from(iterations) {
            Ok(few @ 1..=MAX_ITERATIONS) => few,
            _ => return Err(ScramError::Iterations(iterations)),
        };
        Ok(Self { nonce, salt, iterations })
    }
}

impl<'a> ClientFinal<'a> {
    pub(super) fn parse(message: &'a [u8]) -> Result<Self, ScramError> {
        let text = text(message)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ScramError::Malformed("proof"))?;
        let proof = decode_key(proof).ok_or(ScramError::Malformed("proof"))?;
        let mut attributes = Attributes(Some(without_proof));
        let binding = attributes.take('c', "channel binding")?;
        let nonce = attributes.take('r', "nonce")?;
        attributes.ignore_extensions()?;
        Ok(Self { without_proof, binding, nonce, proof })
    }
}

/// The server's final message: a signature.
pub(super) fn parse_server_final(message: &[u8]) -> Result<[u8; KEY_BYTES], ScramError> {
    let mut attributes = Attributes(Some(text(message)?));
    if let Ok(error) = attributes.take('e', "") {
        // Only error tokens of RFC 5802 reach the log.
        let known = error.len() <= 64 && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        return Err(ScramError::Server(if known { error } else { "other-error" }.to_owned()));
    }
    decode_key(attributes.take('v', "server signature")?).ok_or(ScramError::Malformed("server signature"))
}

fn decode_key(text: &str) -> Option<[u8; KEY_BYTES]> {
    BASE64.decode(text).ok()?.try_into().ok()
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    let text = std::str::from_utf8(message).map_err(|_| ScramError::Malformed("encoding"))?;
    if text.contains('\0') { Err(ScramError::Malformed("encoding")) } else { Ok(text) }
}

/// Non-empty printable ASCII without commas.
fn check_nonce(nonce: &str) -> Result<(), ScramError> {
    match !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(ScramError::Malformed("nonce")),
    }
}

/// Attributes still to parse; `None` behind the last attribute.
struct Attributes<'a>(Option<&'a str>);

impl<'a> Attributes<'a> {
    /// The value of the next attribute, which must be `letter`.
    fn take(&mut self, letter: char, name: &'static str) -> Result<&'a str, ScramError> {
        let left = self.0.ok_or(ScramError::Malformed(name))?;
        let value = left.strip_prefix(letter).and_then(|behind| behind.strip_prefix('='));
        let value = value.ok_or(ScramError::Malformed(name))?;
        let (value, behind) = match value.split_once(',') {
            Some((value, behind)) => (value, Some(behind)),
            None => (value, None),
        };
        self.0 = behind;
        Ok(value)
    }

    /// Checks the syntax of optional extensions and ignores their values.
    fn ignore_extensions(self) -> Result<(), ScramError> {
        let Some(left) = self.0 else { return Ok(()) };
        for extension in left.split(',') {
            let mut characters = extension.chars();
            let letter = characters.next().is_some_and(|letter| letter.is_ascii_alphabetic());
            if !letter || characters.next() != Some('=') {
                return Err(ScramError::Malformed("extension"));
            }
        }
        Ok(())
    }
}
