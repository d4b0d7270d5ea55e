//! Views of the messages of a server, and writers for the messages that Gatekeeper sends as a server.
//!
//! Authentication requests are in [`super::authentication`], errors and notices in [`super::error_response`].

use super::{
    authentication::AuthenticationRequest,
    cancel_key::BackendKey,
    error_response::ErrorFields,
    frame::Frame,
    reader::{DecodeError, Reader},
    startup::ProtocolVersion,
    tag::backend as tag,
    transaction::TransactionStatus,
    writer,
};

/// Message of a server, decoded as far as Gatekeeper needs.
#[derive(Clone)]
pub enum BackendMessage<'a> {
    /// An authentication request or AuthenticationOk.
    Authentication(AuthenticationRequest<'a>),
    /// BackendKeyData.
    BackendKeyData(BackendKey),
    /// ParameterStatus.
    ParameterStatus(ParameterStatus<'a>),
    /// ReadyForQuery.
    ReadyForQuery(TransactionStatus),
    /// CommandComplete.
    CommandComplete(CommandTag<'a>),
    /// EmptyQueryResponse.
    EmptyQueryResponse,
    /// ErrorResponse.
    ErrorResponse(ErrorFields<'a>),
    /// NoticeResponse.
    NoticeResponse(ErrorFields<'a>),
    /// NotificationResponse.
    NotificationResponse {
        /// The process that notified.
        pid: i32,
        /// The channel's name.
        channel: &'a [u8],
        /// Payload of the notification.
        payload: &'a [u8],
    },
    /// NegotiateProtocolVersion.
    NegotiateProtocolVersion {
        /// Protocol version from now on.
        version: ProtocolVersion,
        /// How many protocol options the server did not know.
        unknown: u32,
    },
    /// CopyInResponse: the client sends data now.
    CopyInResponse,
    /// CopyOutResponse: the server sends data now.
    CopyOutResponse,
    /// CopyBothResponse: both send data now (replication).
    CopyBothResponse,
    /// CopyData.
    CopyData(&'a [u8]),
    /// CopyDone.
    CopyDone,
    /// DataRow.
    DataRow,
    /// RowDescription.
    RowDescription,
    /// ParameterDescription.
    ParameterDescription,
    /// NoData.
    NoData,
    /// ParseComplete.
    ParseComplete,
    /// BindComplete.
    BindComplete,
    /// CloseComplete.
    CloseComplete,
    /// PortalSuspended.
    PortalSuspended,
    /// FunctionCallResponse.
    FunctionCallResponse,
    /// A tag unknown to Gatekeeper, forwarded undecoded.
    Unknown(u8),
}

/// A setting that the server reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParameterStatus<'a> {
    /// The setting's name.
    pub name: &'a [u8],
    /// Current value of the setting.
    pub value: &'a [u8],
}

/// Command tag: a command, mostly with a number of rows, such as `INSERT 0 5`, `SELECT 1` or `BEGIN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandTag<'a>(&'a [u8]);

// === impl BackendMessage ===

impl<'a> BackendMessage<'a> {
    /// Decodes a server's frame. Allocates only for a [`BackendKey`].
    ///
    /// # Errors
    /// [`DecodeError`] when the body does not fit the tag.
    #[inline]
    pub fn decode(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let body = frame.body();
        let mut reader = Reader::new(body);
        let message = match frame.tag() {
            tag::DATA_ROW => return Ok(Self::DataRow),
            tag::COPY_DATA => return Ok(Self::CopyData(body)),
            tag::READY_FOR_QUERY => Self::ReadyForQuery(
                TransactionStatus::from_byte(reader.u8()?)
                    .ok_or(DecodeError::Invalid("transaction status"))?,
            ),
            tag::COMMAND_COMPLETE => Self::CommandComplete(CommandTag(reader.string()?)),
            tag::AUTHENTICATION => return AuthenticationRequest::decode(body).map(Self::Authentication),
            tag::BACKEND_KEY_DATA => return BackendKey::read(body).map(Self::BackendKeyData),
            tag::PARAMETER_STATUS => return ParameterStatus::decode(body).map(Self::ParameterStatus),
            tag::ERROR_RESPONSE => return Ok(Self::ErrorResponse(ErrorFields::new(body))),
            tag::NOTICE_RESPONSE => return Ok(Self::NoticeResponse(ErrorFields::new(body))),
            tag::NOTIFICATION_RESPONSE => {
                let (pid, channel) = (reader.i32()?, reader.string()?);
                Self::NotificationResponse { pid, channel, payload: reader.string()? }
            }
            tag::NEGOTIATE_PROTOCOL_VERSION => return Self::decode_negotiation(reader),
            tag::COPY_IN_RESPONSE => return Ok(Self::CopyInResponse),
            tag::COPY_OUT_RESPONSE => return Ok(Self::CopyOutResponse),
            tag::COPY_BOTH_RESPONSE => return Ok(Self::CopyBothResponse),
            tag::ROW_DESCRIPTION => return Ok(Self::RowDescription),
            tag::PARAMETER_DESCRIPTION => return Ok(Self::ParameterDescription),
            tag::FUNCTION_CALL_RESPONSE => return Ok(Self::FunctionCallResponse),
            tag::COPY_DONE => Self::CopyDone,
            tag::EMPTY_QUERY_RESPONSE => Self::EmptyQueryResponse,
            tag::NO_DATA => Self::NoData,
            tag::PARSE_COMPLETE => Self::ParseComplete,
            tag::BIND_COMPLETE => Self::BindComplete,
            tag::CLOSE_COMPLETE => Self::CloseComplete,
            tag::PORTAL_SUSPENDED => Self::PortalSuspended,
            unknown => return Ok(Self::Unknown(unknown)),
        };
        reader.expect_end()?;
        Ok(message)
    }

    fn decode_negotiation(mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let version = ProtocolVersion::from_negotiation(reader.u32()?);
        let unknown = reader.u32()?;
        // The count is unchecked input: missing names end the loop with an error.
        for _ in 0..unknown {
            reader.string()?;
        }
        reader.expect_end()?;
        Ok(Self::NegotiateProtocolVersion { version, unknown })
    }
}

/// Appends ReadyForQuery.
pub fn write_ready_for_query(out: &mut Vec<u8>, status: TransactionStatus) {
    writer::write_frame(out, tag::READY_FOR_QUERY, |body| body.push(status.as_byte()));
}

/// Appends ParseComplete.
pub fn write_parse_complete(out: &mut Vec<u8>) {
    writer::write_frame(out, tag::PARSE_COMPLETE, |_| {});
}

/// Appends CloseComplete.
pub fn write_close_complete(out: &mut Vec<u8>) {
    writer::write_frame(out, tag::CLOSE_COMPLETE, |_| {});
}

/// Appends CommandComplete with the tag `command`.
pub fn write_command_complete(out: &mut Vec<u8>, command: &str) {
    writer::write_frame(out, tag::COMMAND_COMPLETE, |body| writer::write_string(body, command.as_bytes()));
}

// === impl ParameterStatus ===

impl<'a> ParameterStatus<'a> {
    /// Decodes the body of a ParameterStatus.
    ///
    /// # Errors
    /// [`DecodeError`] if the body is malformed.
    pub fn decode(body: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let (name, value) = (reader.string()?, reader.string()?);
        reader.expect_end()?;
        Ok(Self { name, value })
    }

    /// Appends the message.
    pub fn write(&self, out: &mut Vec<u8>) {
        writer::write_frame(out, tag::PARAMETER_STATUS, |body| {
            writer::write_string(body, self.name);
            writer::write_string(body, self.value);
        });
    }
}

// === impl CommandTag ===

impl<'a> CommandTag<'a> {
    /// The whole tag.
    #[must_use]
    pub const fn text(&self) -> &'a [u8] {
        self.0
    }

    /// The tag without counts, such as `INSERT` or `CREATE TABLE`.
    #[must_use]
    pub fn command(&self) -> &'a [u8] {
        let mut command = self.0;
        while let Some(blank) = memchr::memrchr(b' ', command)
            && command[blank + 1..].iter().all(u8::is_ascii_digit)
        {
            command = &command[..blank];
        }
        command
    }

    /// Number of rows read or written; `None` if the command reports no count.
    #[must_use]
    pub fn rows(&self) -> Option<u64> {
        let count = self
            .0
            .rsplit(|&byte| byte == b' ')
            .next()
            .filter(|word| !word.is_empty() && word.len() < self.0.len())?;
        count.iter().try_fold(0_u64, |sum, digit| {
            let digit = char::from(*digit).to_digit(10)?;
            sum.checked_mul(10)?.checked_add(digit.into())
        })
    }
}
