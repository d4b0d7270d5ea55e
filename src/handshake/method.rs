//! Authentication methods of a server.

/// The authentication method that a server asked for.
///
/// <https://www.postgresql.org/docs/current/auth-methods.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// No request: trust, peer, or a client certificate.
    Trust,
    /// The password or token in clear text.
    CleartextPassword,
    /// Salted MD5 of the password.
    Md5Password,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// SCRAM-SHA-256-PLUS, bound to the TLS channel.
    ScramSha256Plus,
    /// SASL, with no mechanism that can be answered here.
    OtherSasl,
    /// GSSAPI.
    Gss,
    /// SSPI.
    Sspi,
    /// Kerberos V5, as before PostgreSQL 9.3.
    KerberosV5,
    /// A request with a code that came later.
    Unknown(u32),
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Trust => "trust",
            Self::CleartextPassword => "cleartext password",
            Self::Md5Password => "MD5 password",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::OtherSasl => "another SASL mechanism",
            Self::Gss => "GSSAPI",
            Self::Sspi => "SSPI",
            Self::KerberosV5 => "Kerberos V5",
            Self::Unknown(code) => return write!(f, "authentication request {code}"),
        })
    }
}
