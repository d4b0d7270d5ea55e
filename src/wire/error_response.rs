//! ErrorResponse and NoticeResponse: a list of fields, each a letter for the kind and a text.
//!
//! Gatekeeper forwards a server's errors unchanged and reads them with [`ErrorFields`]. [`ErrorResponse`] is an error
//! or notice that Gatekeeper writes in its own name.
//!
//! <https://www.postgresql.org/docs/current/protocol-error-fields.html>

use std::borrow::Cow;

use super::{reader::Reader, tag, writer};
use crate::closed_set::closed_set;

/// View of an ErrorResponse or NoticeResponse. Fields may be missing, malformed or not UTF-8.
#[derive(Clone, Copy)]
pub struct ErrorFields<'a> {
    body: &'a [u8],
}

/// SQLSTATE: five characters for the kind of error.
///
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState([u8; 5]);

closed_set! {
    /// Severity, in the untranslated words of the protocol.
    pub enum Severity {
        /// The statement failed.
        Error = "ERROR",
        /// The connection ends.
        Fatal = "FATAL",
        /// The server as a whole is in trouble, and the connection ends.
        Panic = "PANIC",
        /// Something likely to be a mistake.
        Warning = "WARNING",
        /// Something to know.
        Notice = "NOTICE",
        /// Debugging output of any level.
        Debug = "DEBUG",
        /// Asked for by the client.
        Info = "INFO",
        /// Mostly for the server's log.
        Log = "LOG",
    }
}

/// An error or notice written by Gatekeeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorResponse<'a> {
    /// Severity. Severities below ERROR are sent as a NoticeResponse.
    pub severity: Severity,
    /// Kind of error.
    pub sqlstate: SqlState,
    /// Primary message, as a single sentence.
    pub message: Cow<'a, str>,
    /// Facts that would not fit the message.
    pub detail: Option<Cow<'a, str>>,
    /// Remedy.
    pub hint: Option<Cow<'a, str>>,
    /// PostgreSQL function reporting the error, where drivers rely on the routine field.
    pub routine: Option<&'static str>,
}

// === impl ErrorFields ===

impl<'a> ErrorFields<'a> {
    /// View of the body of a frame.
    #[must_use]
    pub const fn new(body: &'a [u8]) -> Self {
        Self { body }
    }

    /// All fields in order: kind and text, in the client's encoding. Ends at the first malformed field.
    pub fn fields(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut reader = Reader::new(self.body);
        std::iter::from_fn(move || match reader.u8() {
            Ok(0) | Err(_) => None,
            Ok(kind) => reader.string().ok().map(|text| (kind, text)),
        })
    }

    /// Text of the first field with the given kind.
    #[must_use]
    pub fn field(&self, kind: u8) -> Option<&'a [u8]> {
        self.fields().find(|&(known, _)| known == kind).map(|(_, text)| text)
    }

    /// Severity, from the untranslated field, or from the translated field in English.
    #[must_use]
    pub fn severity(&self) -> Option<Severity> {
        Severity::parse(self.field(b'V').or_else(|| self.field(b'S'))?)
    }

    /// Kind of error.
    #[must_use]
    pub fn sqlstate(&self) -> Option<SqlState> {
        self.field(b'C').and_then(|text| text.try_into().ok()).and_then(SqlState::checked)
    }

    /// Primary message.
    #[must_use]
    pub fn message(&self) -> Cow<'a, str> {
        self.field(b'M').map(String::from_utf8_lossy).unwrap_or_default()
    }

    /// Detail field.
    #[must_use]
    pub fn detail(&self) -> Option<Cow<'a, str>> {
        self.field(b'D').map(String::from_utf8_lossy)
    }

    /// Hint field.
    #[must_use]
    pub fn hint(&self) -> Option<Cow<'a, str>> {
        self.field(b'H').map(String::from_utf8_lossy)
    }

    /// True if the error ends the connection.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity(), Some(Severity::Fatal | Severity::Panic))
    }
}

impl std::fmt::Debug for ErrorFields<'_> {
    /// Severity and SQLSTATE only: a message may quote user input.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ErrorFields({:?}, {:?})", self.severity(), self.sqlstate())
    }
}

// === impl SqlState ===

impl SqlState {
    /// `08P01`: a message out of place or malformed.
    pub const PROTOCOL_VIOLATION: Self = Self(*b"08P01");
    /// `08006`: a connection that broke.
    pub const CONNECTION_FAILURE: Self = Self(*b"08006");
    /// `transaction_resolution_unknown`
    pub const TRANSACTION_RESOLUTION_UNKNOWN: Self = Self(*b"08007");
    /// `serialization_failure`
    pub const SERIALIZATION_FAILURE: Self = Self(*b"40001");
    /// `08001`: a connection that could not be made.
    pub const CANNOT_CONNECT: Self = Self(*b"08001");
    /// `0A000`: a feature that Gatekeeper does not support.
    pub const FEATURE_NOT_SUPPORTED: Self = Self(*b"0A000");
    /// `26000`: no prepared statement of that name.
    pub const INVALID_STATEMENT_NAME: Self = Self(*b"26000");
    /// `25006`: a write where only reads are allowed.
    pub const READ_ONLY_TRANSACTION: Self = Self(*b"25006");
    /// `25P02`: a failed transaction block executes nothing before ROLLBACK.
    pub const IN_FAILED_TRANSACTION: Self = Self(*b"25P02");
    /// `28000`: login not permitted.
    pub const INVALID_AUTHORIZATION: Self = Self(*b"28000");
    /// `28P01`: wrong password.
    pub const INVALID_PASSWORD: Self = Self(*b"28P01");
    /// `53300`: too many connections.
    pub const TOO_MANY_CONNECTIONS: Self = Self(*b"53300");
    /// `57P01`: ended by an administrator.
    pub const ADMIN_SHUTDOWN: Self = Self(*b"57P01");
    /// `crash_shutdown`
    pub const CRASH_SHUTDOWN: Self = Self(*b"57P02");
    /// `57P03`: not now; try again.
    pub const CANNOT_CONNECT_NOW: Self = Self(*b"57P03");
    /// `57014`: canceled.
    pub const QUERY_CANCELED: Self = Self(*b"57014");
    /// `XX000`: a defect of Gatekeeper.
    pub const INTERNAL_ERROR: Self = Self(*b"XX000");
    /// `00000`: no fault at all, as in notices.
    pub const SUCCESSFUL_COMPLETION: Self = Self(*b"00000");

    /// A state written in the source.
    ///
    /// # Panics
    /// If the code is not five digits or upper-case letters. In constants the compiler reports the error.
    #[must_use]
    pub const fn new(code: [u8; 5]) -> Self {
        match Self::checked(code) {
            Some(state) => state,
            None => panic!("an SQLSTATE has five digits or upper-case letters"),
        }
    }

    /// SQLSTATE from untrusted input; `None` unless the code is five digits or upper-case letters.
    #[must_use]
    pub const fn checked(code: [u8; 5]) -> Option<Self> {
        let mut at = &code as &[u8];
        while let [byte, behind @ ..] = at {
            if !(byte.is_ascii_digit() || byte.is_ascii_uppercase()) {
                return None;
            }
            at = behind;
        }
        Some(Self(code))
    }

    /// The five characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("checked to be ASCII")
    }

    /// The first two characters: the class.
    #[must_use]
    pub fn class(&self) -> &str {
        self.as_str().get(..2).expect("checked to be ASCII")
    }
}

impl std::fmt::Display for SqlState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for SqlState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

// === impl Severity ===

impl Severity {
    fn parse(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"ERROR" => Self::Error,
            b"FATAL" => Self::Fatal,
            b"PANIC" => Self::Panic,
            b"WARNING" => Self::Warning,
            b"NOTICE" => Self::Notice,
            b"DEBUG" => Self::Debug,
            b"INFO" => Self::Info,
            b"LOG" => Self::Log,
            _ => return None,
        })
    }

    /// True if an ErrorResponse carries the severity.
    #[must_use]
    pub const fn is_error(self) -> bool {
        matches!(self, Self::Error | Self::Fatal | Self::Panic)
    }
}

// === impl ErrorResponse ===

impl<'a> ErrorResponse<'a> {
    /// A report without detail, hint and routine.
    #[must_use]
    pub fn new(severity: Severity, sqlstate: SqlState, message: impl Into<Cow<'a, str>>) -> Self {
        Self { severity, sqlstate, message: message.into(), detail: None, hint: None, routine: None }
    }

    /// Appends an ErrorResponse, or a NoticeResponse for a severity below ERROR.
    pub fn write(&self, out: &mut Vec<u8>) {
        let tag = match self.severity.is_error() {
            true => tag::backend::ERROR_RESPONSE,
            false => tag::backend::NOTICE_RESPONSE,
        };
        let severity = self.severity.as_str();
        writer::write_frame(out, tag, |body| {
            let fields = [
                (b'S', Some(severity)),
                (b'V', Some(severity)),
                (b'C', Some(self.sqlstate.as_str())),
                (b'M', Some(self.message.as_ref())),
                (b'D', self.detail.as_deref()),
                (b'H', self.hint.as_deref()),
                (b'R', self.routine),
            ];
            for (kind, text) in fields {
                if let Some(text) = text {
                    body.push(kind);
                    writer::write_string(body, text.as_bytes());
                }
            }
            body.push(0);
        });
    }
}
