//! Peers that send arbitrary bytes.

use proptest::{collection::vec, prelude::*};

use super::*;

/// All decoders of `wire`, without assertion: the calls must return.
fn fuzz_decoders(bytes: &[u8]) {
    for speaker in [Speaker::StrangeClient, Speaker::Client, Speaker::Server] {
        let mut walker = Deframer::new(speaker);
        let mut at = 0;
        while let Ok(Some(piece)) = walker.next(&bytes[at..]) {
            if let FramePiece::Whole(frame) = &piece {
                let _ = frontend::FrontendMessage::decode(frame);
                let _ = frontend::FrontendMessage::decode_prefix(frame.tag(), frame.body());
                let _ = backend::BackendMessage::decode(frame);
                let _ = format!("{frame:?}");
            }
            let passed = walker.pass(&piece);
            assert!(passed > 0, "a walk always gets on");
            at += passed;
        }
        for tag in [tag::backend::DATA_ROW, tag::backend::COPY_DATA] {
            assert!(leading_run(speaker, tag, bytes).bytes <= bytes.len());
        }
    }
    let fault = ErrorFields::new(bytes);
    let _ = (fault.message(), fault.detail(), fault.hint(), fault.sqlstate(), fault.severity());
    assert!(fault.fields().count() <= bytes.len());
    if let Ok(AuthenticationRequest::Sasl(mechanisms)) = AuthenticationRequest::decode(bytes) {
        assert!(mechanisms.iter().count() <= bytes.len());
    }
    let _ = (SaslInitialResponse::decode(bytes).is_ok(), decode_password(bytes).is_ok());
    if let Ok(Some((packet, taken))) = FirstPacket::read(bytes) {
        assert!(taken <= bytes.len());
        let mut again = Vec::new();
        packet.write(&mut again);
        if !matches!(&packet, FirstPacket::Startup(startup) if startup.version().major != 3) {
            assert_eq!(again, &bytes[..taken], "a first packet is written as it was read");
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_from_a_peer_panic(bytes in vec(any::<u8>(), 0..200)) {
        fuzz_decoders(&bytes);
    }

    #[test]
    fn no_body_under_a_true_header_panics(tag in any::<u8>(), body in vec(prop_oneof![Just(0_u8), any::<u8>()], 0..60)) {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, tag, |to| to.extend_from_slice(&body));
        fuzz_decoders(&bytes);
        fuzz_decoders(&body);
    }

    #[test]
    fn no_startup_packet_panics(code in prop_oneof![
            Just(196_608_u32), Just(196_610), Just(80_877_102), Just(80_877_103), Just(80_877_104), any::<u32>()],
        body in vec(prop_oneof![Just(0_u8), any::<u8>()], 0..60),
    ) {
        let mut bytes = Vec::new();
        write_packet(&mut bytes, |to| { to.extend(code.to_be_bytes()); to.extend_from_slice(&body); });
        fuzz_decoders(&bytes);
    }

    #[test]
    fn a_changed_byte_in_a_good_stream_never_panics(
        at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut stream = everything_a_server_says();
        let at = at.index(stream.len());
        stream[at] = byte;
        fuzz_decoders(&stream);
    }
}
