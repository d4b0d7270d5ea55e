//! Logins of clients over a socket pair, with a paused clock.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::{Instant, sleep},
};

use super::{backend_login::Failed, handshake::ClientHandshake};
use crate::{
    backend::{ConnectError, ConnectFailure},
    client_error::ClientErrorReason,
    frontend::{
        AccessList, Auth, ListenerContext,
        accept::admission::{Admitted, Permit},
        acquire::AcquireError,
        testing::Stand,
    },
    names::{EndpointName, UserName},
    route::RoutePolicy,
    tls::Stream,
    wire::{Frame, ProtocolVersion, Speaker, StartupMessage, backend::BackendMessage},
};

const HOLD: Duration = Duration::from_secs(30);
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A primary that was seen up and is now a standby: no writer, as in a failover.
const NO_WRITER: &str = "p primary up standby";

async fn enter(stand: &Stand, listener: &Arc<ListenerContext>) -> (ClientHandshake, UnixStream) {
    let (ours, client) = UnixStream::pair().unwrap();
    let (listener, services) = (Arc::clone(listener), Arc::clone(&stand.services));
    let handshake = ClientHandshake::enter(Stream::Unix(ours), None, listener, services).await;
    (handshake.unwrap(), client)
}

fn permit(listener: &ListenerContext) -> Permit {
    match listener.admission.admit(None, &listener.settings.limits) {
        Admitted::Accepted(permit) => permit,
        Admitted::Refused(..) | Admitted::Turned(_) => panic!("there is room"),
    }
}

async fn send_startup(client: &mut UnixStream) {
    let mut startup = StartupMessage::new(ProtocolVersion::V3_0);
    startup.set("user", "alice");
    let mut bytes = Vec::new();
    startup.write(&mut bytes);
    client.write_all(&bytes).await.unwrap();
}

/// SQLSTATE of the ErrorResponse that ends the connection.
async fn read_sqlstate(client: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).await.unwrap();
    let frame = Frame::read(Speaker::Server, &bytes).unwrap().expect("a whole message");
    match BackendMessage::decode(&frame).unwrap() {
        BackendMessage::ErrorResponse(fault) => fault.sqlstate().unwrap().as_str().to_owned(),
        _ => panic!("no ErrorResponse"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_refused_in_time() {
    let stand = Stand::new(NO_WRITER);
    let listener = stand.listener(RoutePolicy::Primary, HOLD);
    let started = Instant::now();
    let (mut handshake, mut client) = enter(&stand, &listener).await;
    assert!(handshake.greet().await.is_none());
    drop(handshake);
    assert!(started.elapsed() >= LOGIN_TIMEOUT && started.elapsed() < 2 * LOGIN_TIMEOUT);
    assert_eq!(read_sqlstate(&mut client).await, "57014");
}

#[tokio::test(start_paused = true)]
async fn an_unlisted_user_gets_no_backend() {
    let mut stand = Stand::new(NO_WRITER);
    let access = AccessList { users: vec![UserName::new("bob").unwrap()], databases: Vec::new() };
    let listener = stand.listener_with(RoutePolicy::Primary, HOLD, Auth::Trust, access);
    let started = Instant::now();
    let (mut handshake, mut client) = enter(&stand, &listener).await;
    send_startup(&mut client).await;
    let (startup, negotiation) = handshake.greet().await.unwrap();
    assert!(handshake.log_in(startup, negotiation, &mut permit(&listener)).await.is_none());
    drop(handshake);
    assert_eq!(read_sqlstate(&mut client).await, "28000");
    assert_eq!((started.elapsed(), stand.evidence.take()), (Duration::ZERO, Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn a_login_without_a_writer_ends_with_the_hold() {
    let stand = Stand::new(NO_WRITER);
    let listener = stand.listener(RoutePolicy::Primary, HOLD);
    let (mut handshake, mut client) = enter(&stand, &listener).await;
    send_startup(&mut client).await;
    let (startup, negotiation) = handshake.greet().await.unwrap();
    let started = Instant::now();
    assert!(handshake.log_in(startup, negotiation, &mut permit(&listener)).await.is_none());
    drop(handshake);
    assert!(started.elapsed() >= HOLD && started.elapsed() < 2 * HOLD);
    assert_eq!(read_sqlstate(&mut client).await, "57P03");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_not_waited_for() {
    let stand = Stand::new(NO_WRITER);
    let listener = stand.listener(RoutePolicy::Primary, HOLD);
    let (mut handshake, mut client) = enter(&stand, &listener).await;
    send_startup(&mut client).await;
    let (startup, negotiation) = handshake.greet().await.unwrap();
    let started = Instant::now();
    let mut permit = permit(&listener);
    let log_in = handshake.log_in(startup, negotiation, &mut permit);
    let leave = async {
        sleep(HOLD / 10).await;
        drop(client);
    };
    let (login_result, ()) = tokio::join!(log_in, leave);
    assert!(login_result.is_none());
    assert!(started.elapsed() < HOLD);
}

#[tokio::test]
async fn a_servers_refusal_reaches_the_client_unchanged() {
    let stand = Stand::new("p primary up primary");
    let listener = stand.listener(RoutePolicy::Primary, HOLD);
    let endpoints = stand.services.routing.endpoints.load();
    let endpoint = endpoints.get(&EndpointName::new("p").unwrap()).unwrap();
    let error = ConnectError::scripted_refusal(Arc::clone(endpoint.endpoint()), *b"3D000");
    let words = error.refused().unwrap().response.as_bytes().to_vec();
    let failure = AcquireError::down(endpoint, Arc::new(error));
    match Failed::without_backend(&listener, &failure) {
        Failed::ByServer { words: forwarded, sqlstate } => {
            assert_eq!((forwarded, sqlstate.unwrap().as_str()), (words, "3D000"));
        }
        _ => panic!("not the server's words"),
    }
    let user = UserName::new("alice").unwrap();
    let unlisted = ConnectError::new(Arc::clone(endpoint.endpoint()), ConnectFailure::UnlistedUser { user });
    match Failed::without_backend(&listener, &AcquireError::down(endpoint, Arc::new(unlisted))) {
        Failed::Refused(client_error) => assert_eq!(client_error.reason, ClientErrorReason::UserNotListed),
        _ => panic!("no refusal in our own name"),
    }
}
