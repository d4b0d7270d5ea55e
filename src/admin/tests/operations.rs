use super::desk::{Answer, Desk, WELL};
use crate::admin::{ControlCommand, ReloadFailure, ReloadReport, SettingChange};

/// The response to a reload with the result `done`.
async fn reload(done: Result<ReloadReport, ReloadFailure>) -> Answer {
    let mut desk = Desk::new(WELL);
    let router = desk.router.clone();
    let program = async {
        match desk.commands.recv().await {
            Some(ControlCommand::Reload { trigger: "admin", answer }) => answer.send(done).unwrap(),
            _ => panic!("something else was asked for"),
        }
    };
    tokio::join!(super::desk::ask(router, "POST", "/v1/reload", &[]), program).0
}

#[tokio::test]
async fn a_reload_says_what_it_changed() {
    let setting = SettingChange {
        key: "log.level".into(),
        from: Some("info".into()),
        to: Some("warn".into()),
        needs_restart: false,
    };
    let changed = vec!["endpoint `reads` added".into()];
    let report = ReloadReport { changed, settings: vec![setting], ..ReloadReport::default() };
    let answer = reload(Ok(report)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        serde_json::json!({
            "changed": ["endpoint `reads` added"],
            "settings": [{"key": "log.level", "from": "info", "to": "warn", "needs_restart": false}],
            "needs_restart": [],
            "warnings": [],
        })
    );
}

#[tokio::test]
async fn every_mistake_is_told_on_a_line_of_its_own() {
    let lines = vec!["line 3: one".to_owned(), "line 4: two".to_owned()];
    for (failure, status, code) in [
        (ReloadFailure::Config(lines.clone()), 422, "invalid_configuration"),
        (ReloadFailure::Unusable(lines.clone()), 409, "unusable_configuration"),
    ] {
        let answer = reload(Err(failure)).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code));
        assert_eq!(answer.json()["error"]["details"], serde_json::json!(lines));
    }
}

#[tokio::test]
async fn stop_is_commanded_once() {
    let mut desk = Desk::new(WELL);
    for _ in 0..40 {
        let answer = desk.ask("POST", "/v1/stop", &[]).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (202, serde_json::json!({"sessions": 0})));
    }
    assert!(matches!(desk.commands.try_recv(), Ok(ControlCommand::Stop)));
    assert!(desk.commands.try_recv().is_err(), "a second command was sent");
    assert_eq!(desk.get("/readyz").await.json()["draining"], true);
}

#[tokio::test]
async fn a_program_that_is_ending_reloads_nothing() {
    assert_eq!(reload(Err(ReloadFailure::Ending)).await.code(), "draining");
    let mut desk = Desk::new(WELL);
    desk.context.monitor.drain();
    assert_eq!(desk.ask("POST", "/v1/reload", &[]).await.code(), "draining");
    assert!(desk.commands.try_recv().is_err(), "the program was asked all the same");
}
