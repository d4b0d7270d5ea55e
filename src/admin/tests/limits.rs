use std::pin::pin;

use super::desk::{Desk, WELL, ask};

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_told_so() {
    let desk = Desk::new(WELL);
    // No task receives the command.
    let answer = desk.ask("POST", "/v1/reload", &[]).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (504, "timeout"));
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_shed_and_health_is_still_answered() {
    let desk = Desk::new(WELL);
    let waiting: Vec<_> =
        (0..32).map(|_| Box::pin(ask(desk.router.clone(), "POST", "/v1/reload", &[]))).collect();
    let mut waiting = waiting;
    for request in &mut waiting {
        let mut request = pin!(request);
        assert!(
            std::future::poll_fn(|cx| std::task::Poll::Ready(request.as_mut().poll(cx).is_pending())).await
        );
    }
    for path in ["/v1/info", "/metrics", "/v1/topology"] {
        let answer = desk.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "overloaded"), "{path}");
    }
    assert_eq!(desk.get("/livez").await.status, 200);
    assert_eq!(desk.get("/readyz").await.status, 200);
    drop(waiting);
    assert_eq!(desk.get("/v1/info").await.status, 200, "whoever went away takes no place");
}
