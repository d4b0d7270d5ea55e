//! Sessions that send reads to the read pools, as scripts.

use super::{
    Side::{Client, Server},
    frame,
    sharing::{EXECUTE, Talk, shown},
};
use crate::{route::Side, wire::Speaker};

/// Parse, Bind and Execute of a read, and Sync.
fn read() -> Vec<u8> {
    [
        frame(b'P', b"\0SELECT 1\0\0\0"),
        frame(b'B', b"\0\0\0\0\0\0\0\0"),
        frame(b'E', EXECUTE),
        frame(b'S', b""),
    ]
    .concat()
}

fn error(severity: &str, state: &str) -> Vec<u8> {
    frame(b'E', format!("S{severity}\0V{severity}\0C{state}\0Mm\0\0").as_bytes())
}

fn sides(talk: &Talk) -> &[Side] {
    talk.sides.as_deref().unwrap_or_default()
}

#[test]
fn an_error_that_the_server_survives_is_the_answer() {
    for state in ["08P01", "08006", "57014", "57P01", "57P03", "22012"] {
        let mut talk = Talk::splitting();
        talk.say(&Client, &read(), 1000);
        talk.say(&Server, &[frame(b'1', b""), error("ERROR", state), frame(b'Z', b"I")].concat(), 1000);
        assert_eq!(sides(&talk), [Side::Reader], "{state}");
        let heard = shown(&talk.to_client, Speaker::Server);
        assert!(heard.contains(state) && heard.ends_with("ZI"), "{state}: {heard}");
    }
}

#[test]
fn a_unit_that_loses_each_node_runs_thrice_at_most() {
    let fatal = error("FATAL", "57P01");
    for last_words in [&fatal[..], &[]] {
        let mut talk = Talk::splitting();
        for _ in 0..2 {
            talk.say(&Client, &read(), 1000);
            for expected in [Side::Reader, Side::Reader, Side::Writer] {
                assert_eq!(sides(&talk).last(), Some(&expected));
                talk.say(&Server, last_words, 1000);
                if expected == Side::Reader {
                    assert!(talk.lose_backend());
                }
            }
            assert_eq!(sides(&talk).len(), 3, "{:?}", sides(&talk));
            talk.sides = Some(Vec::new());
            if !last_words.is_empty() {
                break;
            }
            // What the writer answers is the last word, and the next unit's count begins anew.
            let answer = [frame(b'1', b""), frame(b'2', b""), frame(b'C', b"SELECT 1\0"), frame(b'Z', b"I")];
            talk.say(&Server, &answer.concat(), 1000);
            assert_eq!(shown(&talk.to_client, Speaker::Server), "1 | 2 | CSELECT 1 | ZI");
            talk.to_client.clear();
        }
        if !last_words.is_empty() {
            assert!(shown(&talk.to_client, Speaker::Server).contains("57P01"), "the writer's answer");
        }
    }
}

#[test]
fn an_error_that_a_standby_explains_runs_again_once() {
    for state in ["25006", "40001", "42P01", "0A000", "55000", "58030", "XX000"] {
        let mut talk = Talk::splitting();
        talk.say(&Client, &read(), 1000);
        for _ in 0..2 {
            talk.say(&Server, &[error("ERROR", state), frame(b'Z', b"I")].concat(), 1000);
        }
        assert_eq!(sides(&talk), [Side::Reader, Side::Writer], "{state}");
        let heard = shown(&talk.to_client, Speaker::Server);
        assert_eq!(heard.matches(state).count(), 1, "{heard}");
        assert!(heard.ends_with("ZI"), "{heard}");
    }
}
