//! Clients' passwords, judged by a server and kept.

use std::sync::Arc;

use super::script::{Guest, Server, handle, request, user};
use crate::{
    backend::{AcceptedPassword, ConnectError, ConnectFailure, EndpointHandle},
    credentials::Secret,
};

async fn verify_password(
    endpoint: &EndpointHandle,
    password: &str,
) -> Result<AcceptedPassword, ConnectError> {
    endpoint.verify_password(&request("alice").startup, Secret::new(password.to_owned())).await
}

/// A server that accepts only the password `good`.
async fn strict(good: &'static str) -> Server {
    Server::start(move |mut guest: Guest| async move {
        guest.startup().await;
        match guest.password().await == good {
            true => guest.welcome().await,
            false => guest.refuse(b"28P01", "password authentication failed for user \"alice\"").await,
        }
    })
    .await
}

#[tokio::test]
async fn an_accepted_password_logs_in_where_there_is_no_login_of_ours() {
    let server = strict("hers").await;
    let endpoint = handle(server.settings(), &server.tasks);
    let nothing = endpoint.connect(request("alice")).await.map(drop).unwrap_err();
    assert!(matches!(nothing.failure(), ConnectFailure::Login(_)), "there is nothing to show yet");
    let refused = verify_password(&endpoint, "wrong").await.map(drop).unwrap_err();
    assert!(refused.refused().is_some_and(|refused| refused.is_authorization()));

    let accepted = Arc::new(verify_password(&endpoint, "hers").await.unwrap());
    endpoint.keep_accepted(&user("alice"), &accepted);
    assert!(endpoint.connect(request("alice")).await.is_ok());
    assert!(endpoint.connect(request("bob")).await.is_err(), "it is hers alone");
}

#[tokio::test]
async fn what_the_server_refuses_later_is_forgotten() {
    let server = Server::start(|mut guest: Guest| async move {
        guest.startup().await;
        guest.password().await;
        match guest.number {
            0 => guest.welcome().await,
            1 => guest.refuse(b"53300", "sorry, too many clients already").await,
            _ => guest.refuse(b"28P01", "password authentication failed for user \"alice\"").await,
        }
    })
    .await;
    let endpoint = handle(server.settings(), &server.tasks);
    let accepted = Arc::new(verify_password(&endpoint, "hers").await.unwrap());
    endpoint.keep_accepted(&user("alice"), &accepted);
    assert!(endpoint.connect(request("alice")).await.is_err());
    assert!(endpoint.accepted(&user("alice")).is_some(), "that was about the server, not the password");
    assert!(endpoint.connect(request("alice")).await.is_err());
    assert!(endpoint.accepted(&user("alice")).is_none());
}

#[tokio::test]
async fn a_server_that_does_not_ask_proves_nothing() {
    let server = Server::start(|mut guest: Guest| async move {
        guest.startup().await;
        guest.welcome().await;
    })
    .await;
    let endpoint = handle(server.settings(), &server.tasks);
    let error = verify_password(&endpoint, "anything").await.map(drop).unwrap_err();
    assert!(matches!(error.failure(), ConnectFailure::NeverAsked));
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_no_verdict_on_the_password_behind_a_request_for_it() {
    let server = Server::start(|mut guest: Guest| async move {
        guest.startup().await;
        if guest.number == 0 {
            guest.password().await;
        }
        guest.refuse(b"3D000", "database \"alice\" does not exist").await;
    })
    .await;
    let endpoint = handle(server.settings(), &server.tasks);
    assert!(verify_password(&endpoint, "hers").await.is_ok());
    let unasked = verify_password(&endpoint, "hers").await.map(drop).unwrap_err();
    assert!(matches!(unasked.failure(), ConnectFailure::NeverAsked));
}
