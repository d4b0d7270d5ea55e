//! Sources with real commands that count their runs.

use std::{fs, path::PathBuf};

use tempfile::TempDir;
use tokio::time::timeout;

use super::{
    super::{
        TokenCommand, TokenOrigin, TokenUsers,
        command::tests::{endpoint, user},
    },
    *,
};
use crate::tasks::Tasks;

/// A running source whose command prints `token-N`, N counting its runs, unless the file `fail` exists. While the file
/// `hold` exists it waits.
struct Bench {
    folder: TempDir,
    source: TokenSource,
    mints: Arc<Mutex<Vec<Mint>>>,
    tasks: Tasks,
}

impl Bench {
    fn new(ttl: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let line = format!(
            "cd {} && echo run >> runs && while [ -e hold ] || [ -e hold-$GATEKEEPER_BACKEND_USER ]; do sleep 0.01; done && \
             if [ -e fail ]; then echo no luck >&2; exit 1; fi && echo token-$(wc -l < runs)",
            folder.path().display()
        );
        let settings = TokenLoginSettings {
            origin: TokenOrigin::Command(TokenCommand::Shell(line)),
            ttl: Some(ttl),
            timeout: Duration::from_secs(60),
            users: TokenUsers::Listed(vec![user()]),
            insecure_without_verification: false,
        };
        let (source, keeper) = TokenSource::new(&settings, &endpoint(), None);
        let mints = Arc::<Mutex<Vec<Mint>>>::default();
        let tasks = Tasks::new();
        let seen = Arc::clone(&mints);
        tasks.spawn("tokens", keeper.run(move |mint| seen.lock().unwrap().push(mint)));
        Self { folder, source, mints, tasks }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.path("runs")).unwrap_or_default().lines().count()
    }

    async fn token(&self) -> String {
        self.source.token(&user()).await.unwrap().secret.reveal().to_owned()
    }

    async fn until(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let reached = async {
            while !condition(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(30), reached)
            .await
            .unwrap_or_else(|_| panic!("{what}: {:?}", self.source.status()));
    }
}

#[tokio::test]
async fn a_hundred_logins_at_once_cost_one_mint() {
    let bench = Bench::new(Duration::from_secs(300));
    let tasks = Tasks::new();
    let got = Arc::<Mutex<Vec<String>>>::default();
    for _ in 0..100 {
        let (source, got) = (bench.source.clone(), Arc::clone(&got));
        tasks.spawn("login", async move {
            let token = source.token(&user()).await.unwrap();
            got.lock().unwrap().push(token.secret.reveal().to_owned());
        });
    }
    bench.until("all logins have a token", |_| got.lock().unwrap().len() == 100).await;
    assert!(got.lock().unwrap().iter().all(|token| token == "token-1"));
    assert_eq!(bench.runs(), 1);
    let status = bench.source.status();
    assert_eq!((status.mints, status.failures, status.kept.len()), (1, 0, 1));
    let life = status.kept[0].expires_at.duration_since(status.kept[0].minted_at);
    assert_eq!(life.as_secs(), 300);
}

#[tokio::test]
async fn a_login_that_gives_up_does_not_take_the_mint_of_the_others_with_it() {
    let bench = Bench::new(Duration::from_secs(300));
    fs::write(bench.path("hold"), "").unwrap();
    let user = user();
    tokio::select! {
        _ = bench.source.token(&user) => panic!("the command waits"),
        () = bench.until("the command has started", |bench| bench.runs() == 1) => {}
    }
    fs::remove_file(bench.path("hold")).unwrap();
    assert_eq!(bench.token().await, "token-1");
}

#[tokio::test]
async fn a_command_that_hangs_for_one_user_holds_up_no_other() {
    let bench = Bench::new(Duration::from_secs(300));
    fs::write(bench.path("hold-alice@example.com"), "").unwrap();
    let (alice, bob) = (user(), UserName::new("bob@example.com").unwrap());
    let bobs = async {
        bench.until("alice's command has started", |bench| bench.runs() == 1).await;
        bench.source.token(&bob).await.unwrap()
    };
    let waiting = bench.source.token(&alice);
    let mut waiting = std::pin::pin!(waiting);
    tokio::select! {
        _ = &mut waiting => panic!("alice's command hangs"),
        token = bobs => assert_eq!(token.secret.reveal(), "token-2"),
    }
    fs::remove_file(bench.path("hold-alice@example.com")).unwrap();
    waiting.await.unwrap();
}

#[tokio::test]
async fn an_expired_token_serves_while_the_command_fails() {
    let bench = Bench::new(Duration::from_millis(50));
    assert_eq!(bench.token().await, "token-1");
    fs::write(bench.path("fail"), "").unwrap();
    let began = Instant::now();
    bench.until("the token has expired", |_| began.elapsed() > Duration::from_millis(100)).await;
    assert!(bench.token().await.starts_with("token-"));
    let status = bench.source.status();
    assert!(status.failures > 0 && status.failing.is_some(), "{status:?}");
    assert_eq!(status.kept.len(), 1, "later logins do not wait for the command");
}

#[tokio::test]
async fn a_used_token_is_renewed_before_it_expires() {
    let bench = Bench::new(Duration::from_secs(5));
    assert_eq!(bench.token().await, "token-1");
    bench.until("the token is renewed", |bench| bench.source.status().mints == 2).await;
    let causes: Vec<_> = bench.mints.lock().unwrap().iter().map(|mint| mint.cause).collect();
    assert_eq!(causes, [MintCause::Login, MintCause::Renewal]);
}

#[tokio::test]
async fn a_failing_command_is_told_and_counted_and_recovers_with_the_next_login() {
    let bench = Bench::new(Duration::from_secs(300));
    fs::write(bench.path("fail"), "").unwrap();
    let error = bench.source.token(&user()).await.err().unwrap();
    assert_eq!(error.to_string(), "exited with status 1: no luck");
    let status = bench.source.status();
    assert_eq!((status.mints, status.failures), (0, 1));
    assert!(status.failing.is_some());
    let since = status.failing_since.unwrap();
    bench.source.token(&user()).await.err().unwrap();
    assert_eq!(bench.source.status().failing_since, Some(since), "the first failure");
    assert!(bench.mints.lock().unwrap()[0].result.is_err());
    fs::remove_file(bench.path("fail")).unwrap();
    assert_eq!(bench.token().await, "token-3");
    let status = bench.source.status();
    assert!(status.failing.is_none() && status.failing_since.is_none());
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_for_all() {
    let bench = Bench::new(Duration::from_secs(300));
    let user = user();
    let first = bench.source.token(&user).await.unwrap();
    assert!(bench.source.fresh(&user, &first).await.unwrap().is_none(), "minted for this very login");
    let kept = bench.source.token(&user).await.unwrap();
    let (one, two) = tokio::join!(bench.source.fresh(&user, &kept), bench.source.fresh(&user, &kept));
    for fresh in [one, two] {
        assert_eq!(fresh.unwrap().unwrap().secret.reveal(), "token-2");
    }
    assert_eq!(bench.source.fresh(&user, &kept).await.unwrap().unwrap().secret.reveal(), "token-2");
    assert_eq!(bench.runs(), 2);
}

#[tokio::test]
async fn with_a_time_to_live_of_zero_each_login_has_its_own() {
    let bench = Bench::new(Duration::ZERO);
    assert_eq!((bench.token().await.as_str(), bench.token().await.as_str()), ("token-1", "token-2"));
    assert!(bench.source.status().kept.is_empty());
}

#[tokio::test]
async fn without_a_keeper_logins_are_told_instead_of_waiting() {
    let bench = Bench::new(Duration::from_secs(300));
    bench.tasks.shutdown().await;
    assert!(matches!(bench.source.token(&user()).await, Err(TokenError::Stopped)));
}
