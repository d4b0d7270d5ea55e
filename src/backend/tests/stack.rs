//! Limits on time and concurrency.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Barrier;

use super::script::{Server, handle, request};
#[tokio::test]
async fn a_login_that_hangs_is_given_up_and_the_stage_is_named() {
    let server = Server::start(|mut guest| async move {
        guest.startup().await;
        guest.wait_for_the_end().await;
    })
    .await;
    let mut settings = server.settings();
    settings.connect_timeout = Duration::from_millis(50);
    let error = handle(settings, &server.tasks).connect(request("alice")).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "backend login failed: endpoint `primary` at {}: not done within 50ms (login)",
            server.address
        )
    );
}

#[tokio::test]
async fn as_many_logins_are_under_way_as_allowed_and_no_more() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    // Each login ends only when there are two: fewer would wait for ever.
    let two = Arc::new(Barrier::new(2));
    let counted = (Arc::clone(&now), Arc::clone(&most));
    let server = Server::start(move |mut guest| {
        let ((now, most), two) = (counted.clone(), Arc::clone(&two));
        async move {
            guest.startup().await;
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            two.wait().await;
            now.fetch_sub(1, Ordering::SeqCst);
            guest.welcome().await;
        }
    })
    .await;
    let mut settings = server.settings();
    settings.connect_concurrency = 2;
    let endpoint = handle(settings, &server.tasks);
    let connect = || endpoint.connect(request("alice"));
    let (a, b, c, d) = tokio::join!(connect(), connect(), connect(), connect());
    assert!(a.is_ok() && b.is_ok() && c.is_ok() && d.is_ok());
    assert_eq!(most.load(Ordering::SeqCst), 2);
}
