//! Which node a backend leads to, where a listener splits.

use super::*;
use crate::backend::ConnectFailure;

/// A read pool's stand, whose server gives `answer` when it is asked who it is.
async fn stand(splits: bool, answer: Option<(bool, i64)>) -> Stand {
    let mut stand = Stand::new(4).await;
    stand.endpoint = endpoint_of(DeclaredRole::ReadPool, &stand.server, None, &stand.metrics);
    stand.settings.splits = splits;
    stand.server.says_it_is(answer);
    stand
}

#[tokio::test(start_paused = true)]
async fn a_backend_of_a_read_pool_knows_its_node_where_the_listener_splits() {
    let stand = stand(true, Some((true, 7))).await;
    let first = lease(&stand.pool()).await.unwrap();
    let node = first.node().unwrap();
    assert_eq!((node.started_us, node.port), (7, Some(5432)));
    first.release(Disposition::Clean);
    let again = lease(&stand.pool()).await.unwrap();
    assert_eq!(again.node(), Some(node));
    assert_eq!(stand.server.queries().len(), 1, "it is asked once for each backend");
}

#[tokio::test(start_paused = true)]
async fn nobody_asks_where_the_listener_does_not_split_or_the_endpoint_is_the_primary() {
    let unsplit = stand(false, Some((true, 7))).await;
    assert_eq!(lease(&unsplit.pool()).await.unwrap().node(), None);
    assert_eq!(unsplit.server.queries(), Vec::<String>::new());
    let mut primary = Stand::new(4).await;
    primary.settings.splits = true;
    assert_eq!(lease(&primary.pool()).await.unwrap().node(), None);
    assert_eq!(primary.server.queries(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_will_not_say_serves_without_a_name() {
    let stand = stand(true, None).await;
    assert_eq!(lease(&stand.pool()).await.unwrap().node(), None);
    assert_eq!(stand.server.queries().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_writes_is_given_to_no_reader() {
    let stand = stand(true, Some((false, 7))).await;
    let Err(LeaseError::Down(error)) = lease(&stand.pool()).await else { panic!("it is no standby") };
    assert!(matches!(error.failure(), ConnectFailure::NoStandby), "{error}");
    until("it is closed", || stand.server.open() == 0).await;
    // Once it is a standby again, or the balancer shows another one, reads go on.
    stand.server.says_it_is(Some((true, 8)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(lease(&stand.pool()).await.unwrap().node().unwrap().started_us, 8);
}
