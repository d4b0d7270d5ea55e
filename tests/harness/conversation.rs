//! Recorded conversations: equal bytes sent to two servers must get equal responses.

use std::net::SocketAddr;

use gatekeeper::testing::{
    sandbox::{APP, DATABASE},
    wire::tag,
};

use super::{frames::Frames, psql, raw::Message, shared::Neighbours};

/// A turn of a conversation.
#[derive(Clone)]
pub enum Turn {
    /// Send the bytes in one write.
    Send(Vec<u8>),
    /// Read up to a message with the given tag.
    Receive(u8),
    /// Read up to the end of the connection.
    ReceiveAll,
    /// Run SQL directly at the server, on another connection.
    Meanwhile(&'static str),
}

/// Sends the bytes and reads up to ReadyForQuery.
pub fn ask(bytes: Vec<u8>) -> [Turn; 2] {
    [Turn::Send(bytes), Turn::Receive(tag::backend::READY_FOR_QUERY)]
}

/// Two paths to one server.
pub struct Ways {
    pub direct: SocketAddr,
    pub through: SocketAddr,
    /// Connection string for statements of others at the server.
    pub aside: String,
}

impl Ways {
    /// Holds the conversation both ways.
    ///
    /// # Panics
    /// When the answers are not the same to the byte, process ids in notifications aside.
    pub async fn agree(&self, what: &str, turns: &[Turn]) {
        let direct = self.hold(self.direct, turns).await;
        let through = self.hold(self.through, turns).await;
        for (at, (direct, through)) in direct.iter().zip(&through).enumerate() {
            assert_eq!(through, direct, "{what}: answer {at} differs");
        }
        assert_eq!(through.len(), direct.len(), "{what}:\n{through:?}\n{direct:?}");
    }

    /// Runs the conversation on one path, and returns the messages received.
    pub async fn hold(&self, address: SocketAddr, turns: &[Turn]) -> Vec<Message> {
        let client = Frames::log_in(address, APP, &[("database", DATABASE)]).await;
        hold(client, turns, &self.aside, None).await
    }
}

/// Runs a conversation as `client`, and returns the messages received, beginning with the parameters reported at login.
/// `aside` is a connection string for statements of others; `neighbours` take the client's backend whenever possible.
pub async fn hold(
    mut client: Frames,
    turns: &[Turn],
    aside: &str,
    mut neighbours: Option<&mut Neighbours>,
) -> Vec<Message> {
    let mut received_frames = client.reported.clone();
    for turn in turns {
        match turn {
            Turn::Send(bytes) => {
                if let Some(neighbours) = &mut neighbours {
                    neighbours.stir().await;
                }
                client.send(bytes).await;
            }
            Turn::Receive(tag) => received_frames.extend(client.read_until(*tag).await),
            Turn::ReceiveAll => received_frames.extend(client.read_to_close().await),
            Turn::Meanwhile(sql) => {
                let done = psql(aside, sql).await;
                assert!(done.success, "{}", done.stderr);
            }
        }
    }
    received_frames.iter_mut().for_each(forget_pid);
    received_frames
}

fn forget_pid(message: &mut Message) {
    if message.tag == tag::backend::NOTIFICATION_RESPONSE {
        message.body[..4].fill(0);
    }
}
