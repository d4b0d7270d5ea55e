//! Authentication requests of a server, and the client's responses.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>

use super::{
    reader::{DecodeError, Reader},
    tag, writer,
};

/// An authentication request: the body of a frame tagged `R`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AuthenticationRequest<'a> {
    /// AuthenticationOk: the login succeeded.
    Ok,
    /// AuthenticationKerberosV5: unused since PostgreSQL 9.3.
    KerberosV5,
    /// AuthenticationCleartextPassword.
    CleartextPassword,
    /// AuthenticationMD5Password, with the salt.
    Md5Password([u8; 4]),
    /// AuthenticationGSS.
    Gss,
    /// AuthenticationGSSContinue, with the server's data.
    GssContinue(&'a [u8]),
    /// AuthenticationSSPI.
    Sspi,
    /// AuthenticationSASL, with the mechanisms on offer.
    Sasl(Mechanisms<'a>),
    /// AuthenticationSASLContinue, with the server's data.
    SaslContinue(&'a [u8]),
    /// AuthenticationSASLFinal, with the server's data.
    SaslFinal(&'a [u8]),
    /// A code unknown to Gatekeeper.
    Unknown(u32),
}

/// The names of SASL mechanisms, in the server's order of preference.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mechanisms<'a> {
    /// Checked: non-empty, terminated strings only.
    names: &'a [u8],
}

/// SASLInitialResponse: mechanism chosen by the client, and the mechanism's first message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SaslInitialResponse<'a> {
    /// The mechanism chosen.
    pub mechanism: &'a [u8],
    /// First message of the mechanism; `None` without one.
    pub data: Option<&'a [u8]>,
}

mod code {
    pub(super) const OK: u32 = 0;
    pub(super) const KERBEROS_V5: u32 = 2;
    pub(super) const CLEARTEXT_PASSWORD: u32 = 3;
    pub(super) const MD5_PASSWORD: u32 = 5;
    pub(super) const GSS: u32 = 7;
    pub(super) const GSS_CONTINUE: u32 = 8;
    pub(super) const SSPI: u32 = 9;
    pub(super) const SASL: u32 = 10;
    pub(super) const SASL_CONTINUE: u32 = 11;
    pub(super) const SASL_FINAL: u32 = 12;
}

// === impl AuthenticationRequest ===

impl<'a> AuthenticationRequest<'a> {
    /// Decodes the body of a frame tagged `R`.
    ///
    /// # Errors
    /// [`DecodeError`] if the body is malformed.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let request = match reader.u32()? {
            code::OK => Self::Ok,
            code::KERBEROS_V5 => Self::KerberosV5,
            code::CLEARTEXT_PASSWORD => Self::CleartextPassword,
            code::MD5_PASSWORD => Self::Md5Password(reader.array()?),
            code::GSS => Self::Gss,
            code::SSPI => Self::Sspi,
            code::GSS_CONTINUE => return Ok(Self::GssContinue(reader.rest())),
            code::SASL => return Mechanisms::decode(reader).map(Self::Sasl),
            code::SASL_CONTINUE => return Ok(Self::SaslContinue(reader.rest())),
            code::SASL_FINAL => return Ok(Self::SaslFinal(reader.rest())),
            unknown => return Ok(Self::Unknown(unknown)),
        };
        reader.expect_end()?;
        Ok(request)
    }
}

/// Appends AuthenticationOk.
pub fn write_ok(out: &mut Vec<u8>) {
    write_request(out, code::OK, |_| {});
}

/// Appends AuthenticationCleartextPassword.
pub fn write_cleartext_password(out: &mut Vec<u8>) {
    write_request(out, code::CLEARTEXT_PASSWORD, |_| {});
}

/// Appends AuthenticationMD5Password.
#[cfg(test)]
pub fn write_md5_password(out: &mut Vec<u8>, salt: [u8; 4]) {
    write_request(out, code::MD5_PASSWORD, |body| body.extend(salt));
}

/// Appends AuthenticationSASL with the offered mechanisms.
pub fn write_sasl<'a>(out: &mut Vec<u8>, mechanisms: impl IntoIterator<Item = &'a [u8]>) {
    write_request(out, code::SASL, |body| {
        for mechanism in mechanisms {
            writer::write_string(body, mechanism);
        }
        body.push(0);
    });
}

/// Appends AuthenticationSASLContinue.
pub fn write_sasl_continue(out: &mut Vec<u8>, data: &[u8]) {
    write_request(out, code::SASL_CONTINUE, |body| body.extend_from_slice(data));
}

/// Appends AuthenticationSASLFinal.
pub fn write_sasl_final(out: &mut Vec<u8>, data: &[u8]) {
    write_request(out, code::SASL_FINAL, |body| body.extend_from_slice(data));
}

fn write_request(out: &mut Vec<u8>, code: u32, rest: impl FnOnce(&mut Vec<u8>)) {
    writer::write_frame(out, tag::backend::AUTHENTICATION, |body| {
        body.extend_from_slice(&code.to_be_bytes());
        rest(body);
    });
}

// === impl Mechanisms ===

impl<'a> Mechanisms<'a> {
    fn decode(reader: Reader<'a>) -> Result<Self, DecodeError> {
        let list = reader.rest();
        let mut ahead = reader;
        while !ahead.string()?.is_empty() {}
        ahead.expect_end()?;
        let names = list.get(..list.len() - 1).ok_or(DecodeError::Short)?;
        Ok(Self { names })
    }

    /// The names, in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut reader = Reader::new(self.names);
        std::iter::from_fn(move || reader.string().ok())
    }

    /// True if the server offers `name`.
    #[must_use]
    pub fn contains(&self, name: &[u8]) -> bool {
        self.iter().any(|offered| offered == name)
    }
}

// === impl SaslInitialResponse ===

impl<'a> SaslInitialResponse<'a> {
    /// Decodes the body of a frame tagged `p`.
    ///
    /// # Errors
    /// [`DecodeError`] if the body is malformed.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let mechanism = reader.string()?;
        let data = match reader.i32()? {
            -1 => None,
            length => {
                let length =
                    usize::try_from(length).map_err(|_| DecodeError::Invalid("length of SASL data"))?;
                Some(reader.bytes(length)?)
            }
        };
        reader.expect_end()?;
        Ok(Self { mechanism, data })
    }

    /// Appends the message.
    ///
    /// # Panics
    /// When the data has more than `i32::MAX` bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        writer::write_frame(out, tag::frontend::PASSWORD, |body| {
            writer::write_string(body, self.mechanism);
            let length = self.data.map_or(-1, |data| i32::try_from(data.len()).expect("SASL data are short"));
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(self.data.unwrap_or_default());
        });
    }
}

/// Decodes a PasswordMessage: the password, without its terminator.
///
/// # Errors
/// [`DecodeError`] if the body is malformed.
pub fn decode_password(body: &[u8]) -> Result<&[u8], DecodeError> {
    let mut reader = Reader::new(body);
    let password = reader.string()?;
    reader.expect_end()?;
    Ok(password)
}

/// Appends a PasswordMessage: a password in the clear, or an MD5 answer.
pub fn write_password(out: &mut Vec<u8>, password: &[u8]) {
    writer::write_frame(out, tag::frontend::PASSWORD, |body| writer::write_string(body, password));
}

/// Appends a SASLResponse.
pub fn write_sasl_response(out: &mut Vec<u8>, data: &[u8]) {
    writer::write_frame(out, tag::frontend::PASSWORD, |body| body.extend_from_slice(data));
}
