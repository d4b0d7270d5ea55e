//! Start-up options follow the session to the read pools.

use gatekeeper::testing::wire::tag::backend as b;

use crate::harness::{
    Frames, Split, SplitShape,
    frames::{statement, sync},
    split::last_route,
};

async fn tenant(split: &Split, number: usize) -> Frames {
    let options =
        format!("-c search_path=t{number} -c app.tenant={number} -c default_transaction_read_only=off");
    split.client_with(&[("options", &options)]).await
}

const READ: &str = "SELECT note || ' ' || current_setting('app.tenant') FROM item";

#[tokio::test]
async fn tenants_with_options_share_read_pools() {
    let split = Split::start(SplitShape { size: 2, ..SplitShape::default() }).await;
    for number in 0..4 {
        let made = format!(
            "CREATE SCHEMA t{number}; GRANT USAGE ON SCHEMA t{number} TO PUBLIC; \
             CREATE TABLE t{number}.item AS SELECT 'of {number}' AS note; GRANT SELECT ON t{number}.item TO PUBLIC"
        );
        split.primary(&made).await;
    }
    split.settles().await;
    let mut clients = Vec::new();
    for number in 0..4 {
        clients.push(tenant(&split, number).await);
    }
    for round in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            let own = format!("of {number} {number}");
            assert_eq!(client.ask(READ).await.as_deref(), Ok(own.as_str()));
            assert!(last_route(client).await.starts_with("reads"), "round {round}");
            client.ask("SET search_path = nowhere; SET app.tenant = 'nobody'").await.unwrap();
            assert_eq!(client.ask(READ).await, Err("42P01".to_owned()));
            client.ask("BEGIN READ ONLY").await.unwrap();
            client.ask("SELECT 1").await.unwrap();
            for reset in ["RESET search_path", "SET LOCAL app.tenant TO DEFAULT"] {
                client.ask(reset).await.unwrap();
            }
            assert_eq!(client.ask(READ).await.as_deref(), Ok(own.as_str()));
            client.ask("ROLLBACK").await.unwrap();
            client.send(&[statement("RESET ALL", &[]), statement(READ, &[]), sync()].concat()).await;
            let received = client.read_until(b::READY_FOR_QUERY).await;
            let row = received.iter().find(|message| message.tag == b::DATA_ROW).expect("a row");
            assert!(row.body.ends_with(own.as_bytes()), "{row:?}");
            assert_eq!(client.ask(READ).await.as_deref(), Ok(own.as_str()));
        }
    }
    let page = split.gatekeeper.get("/v1/pools").await.unwrap().body;
    let pools: serde_json::Value = serde_json::from_str(&page).unwrap();
    assert_eq!(pools["pools"].as_array().unwrap().len(), 2, "{page}");
}
