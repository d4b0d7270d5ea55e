//! Reader of message bodies: the only code that follows positions in untrusted bytes.

/// Takes values off the front of a message's body. Every step is checked.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    left: &'a [u8],
}

/// Reason why a body does not fit the tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body ends within a value.
    #[error("the message ends early")]
    Short,
    /// A string without terminator.
    #[error("a string in the message is not terminated")]
    Unterminated,
    /// Bytes behind the last value.
    #[error("the message has {0} bytes too many")]
    Trailing(usize),
    /// A value that the protocol does not know there; carries the name of the field.
    #[error("the message has an invalid {0}")]
    Invalid(&'static str),
}

impl<'a> Reader<'a> {
    /// A reader at the start of `body`.
    #[inline]
    #[must_use]
    pub const fn new(body: &'a [u8]) -> Self {
        Self { left: body }
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`] if fewer bytes are left.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, left) = self.left.split_first_chunk::<N>().ok_or(DecodeError::Short)?;
        self.left = left;
        Ok(*taken)
    }

    /// The next byte.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// `Int16`.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    #[inline]
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    /// `Int32`.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    #[inline]
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    /// `Int32`, where a negative number makes no sense.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Short`].
    #[inline]
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, left) = self.left.split_at_checked(count).ok_or(DecodeError::Short)?;
        self.left = left;
        Ok(taken)
    }

    /// `String`: the bytes before the next NUL, in the client's encoding. Skips the NUL.
    ///
    /// # Errors
    /// [`DecodeError::Unterminated`].
    #[inline]
    pub fn string(&mut self) -> Result<&'a [u8], DecodeError> {
        let end = match self.left.first() {
            // Most names are empty.
            Some(0) => 0,
            _ => memchr::memchr(0, self.left).ok_or(DecodeError::Unterminated)?,
        };
        let text = self.bytes(end)?;
        self.u8()?;
        Ok(text)
    }

    /// A `String`, possibly incomplete: the bytes up to a NUL, which is consumed, or all remaining bytes.
    #[inline]
    pub(super) fn string_prefix(&mut self) -> &'a [u8] {
        self.string().unwrap_or_else(|_| std::mem::take(&mut self.left))
    }

    /// All that is left.
    #[inline]
    #[must_use]
    pub const fn rest(self) -> &'a [u8] {
        self.left
    }

    /// Checks that no bytes are left.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`].
    #[inline]
    pub const fn expect_end(self) -> Result<(), DecodeError> {
        match self.left.len() {
            0 => Ok(()),
            more => Err(DecodeError::Trailing(more)),
        }
    }
}
