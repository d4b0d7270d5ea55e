//! Notifications during Gatekeeper's own queries on the session's backend.

use gatekeeper::testing::wire::tag::backend as b;

use crate::harness::{Pooled, Shape, frames::query};

#[tokio::test]
async fn notifications_outlast_comparisons_of_the_catalog() {
    const NOTIFICATIONS: usize = 300;
    // With strict isolation, a comparison of the catalog follows each statement.
    let pooled = Pooled::start(Shape { size: 2, pool: "isolation = \"strict\"", ..Shape::default() }).await;
    let [mut listening, mut other] = [pooled.client().await, pooled.client().await];
    listening.ask("LISTEN news").await.unwrap();
    let notifying = async {
        for number in 0..NOTIFICATIONS {
            // More than fits a buffer, in the time of few comparisons.
            other.ask(&format!("SELECT pg_notify('news', '{number} ' || repeat('x', 7000))")).await.unwrap();
        }
    };
    let hearing = async {
        let mut received = Vec::new();
        while received.len() < NOTIFICATIONS {
            listening.send(&query("SELECT 1")).await;
            for message in listening.read_until(b::READY_FOR_QUERY).await {
                if message.tag == b::NOTIFICATION_RESPONSE {
                    let payload = &message.body[4 + b"news\0".len()..];
                    let number = payload.split(|byte| *byte == b' ').next().unwrap();
                    received.push(String::from_utf8_lossy(number).parse::<usize>().unwrap());
                }
            }
        }
        received
    };
    let (received, ()) = tokio::join!(hearing, notifying);
    assert_eq!(received, (0..NOTIFICATIONS).collect::<Vec<_>>());
}
