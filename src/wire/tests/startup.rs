//! First packets.

use super::*;

#[test]
fn a_startup_message_keeps_order_and_unknown_options() {
    let mut bytes = Vec::new();
    write_packet(&mut bytes, |body| {
        body.extend_from_slice(b"\0\x03\0\x02user\0alice\0_pq_.x\x001\0database\0db\0user\0bob\0\0");
    });
    bytes.extend_from_slice(b"behind");
    let taken = bytes.len() - 6;
    let (first, length) = FirstPacket::read(&bytes).unwrap().unwrap();
    let FirstPacket::Startup(mut startup) = first.clone() else { panic!("{first:?}") };
    assert_eq!((length, startup.version()), (taken, ProtocolVersion::V3_2));
    assert_eq!(startup.get("user"), Some(b"bob".as_slice()), "the last one counts");
    let mut again = Vec::new();
    first.write(&mut again);
    assert_eq!(again, bytes[..taken]);
    for cut in 0..taken {
        assert_eq!(FirstPacket::read(&bytes[..cut]), Ok(None));
    }
    assert_eq!(startup.protocol_options().collect::<Vec<_>>(), [b"_pq_.x"]);
    startup.set("user", "carol");
    startup.set("options", "-c a=b");
    startup.remove("_pq_.x");
    let all: Vec<_> = startup.parameters().map(|(name, _)| name).collect();
    assert_eq!(all, [b"user".as_slice(), b"database", b"options"]);
    assert_eq!(startup.text("user"), Ok(Some("carol")));
}

#[test]
fn first_packets_have_the_codes_and_limits_of_postgresql() {
    let first = |bytes: &[u8]| FirstPacket::read(bytes);
    assert_eq!(first(&[0, 0, 0, 8, 4, 210, 22, 47]), Ok(Some((FirstPacket::SslRequest, 8))));
    assert_eq!(first(&[0, 0, 0, 8, 4, 210, 22, 48]), Ok(Some((FirstPacket::GssEncRequest, 8))));
    let cancel = [0, 0, 0, 16, 4, 210, 22, 46, 0, 0, 0, 1, 9, 9, 9, 9];
    let key = BackendKey::new(1, &[9; 4]).unwrap();
    assert_eq!(first(&cancel), Ok(Some((FirstPacket::CancelRequest(key.clone()), 16))));
    let mut written = Vec::new();
    key.write_cancel_request(&mut written);
    assert_eq!(written, cancel);
    assert_eq!(first(b"GET / HTTP/1.1\r\n"), Err(StartupError::Length(0x4745_5420)));
    assert_eq!(first(&[0, 0, 0, 7]), Err(StartupError::Length(7)));
    assert_eq!(first(&10_005_u32.to_be_bytes()), Err(StartupError::Length(10_005)));
    assert_eq!(first(&10_004_u32.to_be_bytes()), Ok(None));
    // The terminator is required, and must be the last byte.
    for body in [b"user\0a\0".as_slice(), b"user\0a\0\0x", b"user\0a", b"user\0"] {
        let mut bytes = Vec::new();
        write_packet(&mut bytes, |to| to.extend([&[0, 3, 0, 0], body].concat()));
        assert!(matches!(first(&bytes), Err(StartupError::Layout(_))), "{body:?}");
    }
    assert!(BackendKey::new(1, &[0; 3]).is_err());
    assert!(BackendKey::new(1, &[0; 256]).is_ok());
    assert!(BackendKey::new(1, &[0; 257]).is_err());
}
