//! Views of the messages of a client after login, and writers for the messages that Gatekeeper sends as a client.

use super::{
    frame::Frame,
    reader::{DecodeError, Reader},
    tag::frontend as tag,
    writer,
};

/// Message of a client. Texts are in the client's encoding; `rest` is the undecoded part.
///
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum FrontendMessage<'a> {
    /// Query: one text, any number of statements.
    Query {
        /// The statements.
        text: &'a [u8],
    },
    /// Parse.
    Parse {
        /// Name of the new prepared statement; empty for the unnamed statement.
        name: &'a [u8],
        /// The statement.
        text: &'a [u8],
        /// Parameter types.
        rest: &'a [u8],
    },
    /// Bind.
    Bind {
        /// Name of the new portal; empty for the unnamed portal.
        portal: &'a [u8],
        /// Source prepared statement.
        statement: &'a [u8],
        /// Parameters and formats.
        rest: &'a [u8],
    },
    /// Describe.
    Describe(DescribeTarget<'a>),
    /// Execute.
    Execute {
        /// The portal.
        portal: &'a [u8],
        /// How many rows at most; 0 for all.
        rows: i32,
    },
    /// Close.
    Close(DescribeTarget<'a>),
    /// Sync: the end of a pipeline.
    Sync,
    /// Flush: the server sends pending responses.
    Flush,
    /// FunctionCall.
    FunctionCall {
        /// The function's OID.
        function: u32,
        /// Arguments and formats.
        rest: &'a [u8],
    },
    /// CopyData.
    CopyData(&'a [u8]),
    /// CopyDone.
    CopyDone,
    /// CopyFail.
    CopyFail {
        /// Why the client gives up.
        reason: &'a [u8],
    },
    /// Terminate.
    Terminate,
}

/// Object of a Describe or Close.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum DescribeTarget<'a> {
    /// A prepared statement, by name.
    Statement(&'a [u8]),
    /// A portal, by name.
    Portal(&'a [u8]),
}

// === impl FrontendMessage ===

impl<'a> FrontendMessage<'a> {
    /// Decodes a client's frame.
    ///
    /// # Errors
    /// [`DecodeError`] if the body does not fit the tag. PostgreSQL reports such a message as an ERROR with SQLSTATE
    /// 08P01 and continues: a session may forward the frame and leave the error to the server.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame.body());
        let message = match frame.tag() {
            tag::QUERY => Self::Query { text: reader.string()? },
            tag::PARSE => {
                let (name, text) = (reader.string()?, reader.string()?);
                return Ok(Self::Parse { name, text, rest: reader.rest() });
            }
            tag::BIND => {
                let (portal, statement) = (reader.string()?, reader.string()?);
                return Ok(Self::Bind { portal, statement, rest: reader.rest() });
            }
            tag::DESCRIBE => Self::Describe(DescribeTarget::read(&mut reader)?),
            tag::EXECUTE => Self::Execute { portal: reader.string()?, rows: reader.i32()? },
            tag::CLOSE => Self::Close(DescribeTarget::read(&mut reader)?),
            tag::SYNC => Self::Sync,
            tag::FLUSH => Self::Flush,
            tag::FUNCTION_CALL => {
                let function = reader.u32()?;
                return Ok(Self::FunctionCall { function, rest: reader.rest() });
            }
            tag::COPY_DATA => return Ok(Self::CopyData(reader.rest())),
            tag::COPY_DONE => Self::CopyDone,
            tag::COPY_FAIL => Self::CopyFail { reason: reader.string()? },
            // PostgreSQL ignores the body, too.
            tag::TERMINATE => return Ok(Self::Terminate),
            _ => return Err(DecodeError::Invalid("type")),
        };
        reader.expect_end()?;
        Ok(message)
    }
}

impl<'a> FrontendMessage<'a> {
    /// Decodes a message as far as the body is here: a string without an end has all bytes that are here, and a missing
    /// field is empty or 0. `None` for a tag that no client sends after its login.
    ///
    /// For messages larger than any buffer, and for sessions that forward a malformed message: the server rejects it.
    #[inline]
    #[must_use]
    pub fn decode_prefix(tag: u8, body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        Some(match tag {
            tag::QUERY => Self::Query { text: reader.string_prefix() },
            tag::PARSE => {
                let (name, text) = (reader.string_prefix(), reader.string_prefix());
                Self::Parse { name, text, rest: reader.rest() }
            }
            tag::BIND => {
                let (portal, statement) = (reader.string_prefix(), reader.string_prefix());
                Self::Bind { portal, statement, rest: reader.rest() }
            }
            tag::DESCRIBE => Self::Describe(DescribeTarget::read_all(reader)),
            tag::EXECUTE => {
                Self::Execute { portal: reader.string_prefix(), rows: reader.i32().unwrap_or_default() }
            }
            tag::CLOSE => Self::Close(DescribeTarget::read_all(reader)),
            tag::SYNC => Self::Sync,
            tag::FLUSH => Self::Flush,
            tag::FUNCTION_CALL => {
                Self::FunctionCall { function: reader.u32().unwrap_or_default(), rest: reader.rest() }
            }
            tag::COPY_DATA => Self::CopyData(reader.rest()),
            tag::COPY_DONE => Self::CopyDone,
            tag::COPY_FAIL => Self::CopyFail { reason: reader.string_prefix() },
            tag::TERMINATE => Self::Terminate,
            _ => return None,
        })
    }
}

// === impl DescribeTarget ===

impl<'a> DescribeTarget<'a> {
    /// Reads all that is left; the unnamed portal if malformed, as the least that a message can speak of.
    fn read_all(mut reader: Reader<'a>) -> Self {
        let read = Self::read(&mut reader).ok();
        read.filter(|_| reader.expect_end().is_ok()).unwrap_or(Self::Portal(b""))
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            b'S' => reader.string().map(Self::Statement),
            b'P' => reader.string().map(Self::Portal),
            _ => Err(DecodeError::Invalid("kind of object")),
        }
    }
}

/// Appends a Query.
pub fn write_query(out: &mut Vec<u8>, text: impl AsRef<[u8]>) {
    writer::write_frame(out, tag::QUERY, |body| writer::write_string(body, text.as_ref()));
}

/// Appends a Parse of the statement `name`; `definition` is all that follows the name: text, NUL, parameter types.
pub fn write_parse(out: &mut Vec<u8>, name: &[u8], definition: &[u8]) {
    writer::write_frame(out, tag::PARSE, |body| {
        writer::write_string(body, name);
        body.extend_from_slice(definition);
    });
}

/// Appends a Bind of `statement` to `portal`; `rest` is all that follows the names: formats and parameters.
pub fn write_bind(out: &mut Vec<u8>, portal: &[u8], statement: &[u8], rest: &[u8]) {
    writer::write_frame(out, tag::BIND, |body| {
        writer::write_string(body, portal);
        writer::write_string(body, statement);
        body.extend_from_slice(rest);
    });
}

/// Appends a Bind of `statement` to `portal`, with parameters and results in binary form.
pub fn write_bind_binary(out: &mut Vec<u8>, portal: &[u8], statement: &[u8], parameters: &[Option<&[u8]>]) {
    writer::write_frame(out, tag::BIND, |body| {
        writer::write_string(body, portal);
        writer::write_string(body, statement);
        let all_binary = [1_i16.to_be_bytes(), BINARY.to_be_bytes()].concat();
        body.extend_from_slice(&all_binary);
        let count = i16::try_from(parameters.len()).expect("our own messages are short");
        body.extend_from_slice(&count.to_be_bytes());
        for parameter in parameters {
            let length = parameter.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX));
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(parameter.unwrap_or_default());
        }
        body.extend_from_slice(&all_binary);
    });
}

/// Appends a Describe of a prepared statement.
pub fn write_describe_statement(out: &mut Vec<u8>, name: &[u8]) {
    write_object(out, tag::DESCRIBE, b'S', name);
}

/// Appends a Close of a prepared statement.
pub fn write_close_statement(out: &mut Vec<u8>, name: &[u8]) {
    write_object(out, tag::CLOSE, b'S', name);
}

/// Appends a Close of a portal.
pub fn write_close_portal(out: &mut Vec<u8>, name: &[u8]) {
    write_object(out, tag::CLOSE, b'P', name);
}

fn write_object(out: &mut Vec<u8>, tag: u8, kind: u8, name: &[u8]) {
    writer::write_frame(out, tag, |body| {
        body.push(kind);
        writer::write_string(body, name);
    });
}

/// Appends an Execute of `portal` without a row limit.
pub fn write_execute(out: &mut Vec<u8>, portal: &[u8]) {
    writer::write_frame(out, tag::EXECUTE, |body| {
        writer::write_string(body, portal);
        body.extend_from_slice(&0_i32.to_be_bytes());
    });
}

/// The code of the binary format.
const BINARY: i16 = 1;

/// Appends a Flush.
pub fn write_flush(out: &mut Vec<u8>) {
    writer::write_frame(out, tag::FLUSH, |_| {});
}

/// Appends a Terminate.
pub fn write_terminate(out: &mut Vec<u8>) {
    writer::write_frame(out, tag::TERMINATE, |_| {});
}

/// Appends a Sync.
pub fn write_sync(out: &mut Vec<u8>) {
    writer::write_frame(out, tag::SYNC, |_| {});
}

/// Appends a CopyFail.
pub fn write_copy_fail(out: &mut Vec<u8>, reason: &str) {
    writer::write_frame(out, tag::COPY_FAIL, |body| writer::write_string(body, reason.as_bytes()));
}
