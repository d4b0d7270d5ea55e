//! The server's conversion of `application_name`.

/// `application_name` as a server of this version stores it: plain ASCII. Other bytes become `?`, and from PostgreSQL
/// 16 on `\\x` with two hexadecimal digits.
///
/// <https://www.postgresql.org/docs/current/runtime-config-logging.html#GUC-APPLICATION-NAME>
pub(crate) fn application_name(requested: &[u8], server_version: Option<&[u8]>) -> Box<[u8]> {
    let digits = |version: &[u8]| version.split(|byte| !byte.is_ascii_digit()).next().map(<[u8]>::to_vec);
    let major =
        server_version.and_then(digits).and_then(|digits| String::from_utf8(digits).ok()?.parse().ok());
    let escapes = major.is_some_and(|major: u32| major >= 16);
    let mut kept = Vec::with_capacity(requested.len());
    for &byte in requested {
        match byte {
            b' '..=b'~' => kept.push(byte),
            _ if escapes => kept.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            _ => kept.push(b'?'),
        }
    }
    kept.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_plain_ascii_as_the_server_would_make_it() {
        let name = |requested: &str, version: &[u8]| {
            String::from_utf8(application_name(requested.as_bytes(), Some(version)).into()).unwrap()
        };
        assert_eq!(name("plain 'name' \\", b"17.2"), "plain 'name' \\");
        assert_eq!(name("n\u{e4}me\n", b"15.14 (Debian)"), "n??me?");
        assert_eq!(name("n\u{e4}me\n", b"16beta1"), r"n\xc3\xa4me\x0a");
    }
}
