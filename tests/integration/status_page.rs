//! The status page in a real browser, in front of a whole sandbox: the page asks for the key, never treats a name as
//! markup, and shows after a failover which server took a write.

use std::{fs, time::Duration};

use gatekeeper::testing::{
    sandbox::{ALICE_AT_LISTENERS, APP, DATABASE, Sandbox, SandboxOptions},
    wire::tag::backend,
};
use tokio::time::{Instant, sleep_until};

use crate::harness::{
    Frames, Gatekeeper, Pooled, Shape, Split,
    browser::{Browser, program},
    connect,
    frames::query,
};

const KEY: &str = "correct-horse-battery-staple";
/// A client's application name that would be markup.
const HOSTILE: &str = "<img src=x onerror='window.taken=1'><script>window.taken=1</script>";

/// On request, saves a picture of the page as `status-page.png`: the desktop after a failover. With the variable
/// `GATEKEEPER_TEST_ALL_PICTURES`, saves pictures of the other states, of dark mode and of a phone as well.
async fn keep(browser: &Browser, name: &str) {
    let Some(folder) = std::env::var_os("GATEKEEPER_TEST_PICTURES") else { return };
    let file = match name {
        "after" => "status-page.png".to_owned(),
        _ if std::env::var_os("GATEKEEPER_TEST_ALL_PICTURES").is_some() => format!("status-page-{name}.png"),
        _ => return,
    };
    fs::write(std::path::Path::new(&folder).join(file), browser.picture().await).unwrap();
}

/// Asks the page which server took a write at a time of the day, as a reader would.
async fn asked(browser: &Browser, time: &str) -> String {
    let typed = format!(
        "(time => {{ time.value = '{time}'; time.dispatchEvent(new Event('input')); }})(document.getElementById('time'))"
    );
    browser.js(&typed).await;
    browser.reads("#answer", |text| !text.is_empty()).await
}

#[tokio::test]
async fn the_page_requires_the_key_and_shows_a_failovers_writer() {
    let Some(program) = program() else { return };
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let admin = sandbox.admin_address();
    let config = sandbox.config_toml().unwrap().replace(
        "[admin]\n",
        "[probe]\ninterval = \"300ms\"\ntimeout = \"5s\"\nfailures = 2\n\n[admin]\napi_key = { env = \"KEY\" }\n",
    );
    let gatekeeper = Gatekeeper::launch(sandbox.folder(), &config, admin, &[("KEY", KEY)]);
    gatekeeper.wait_for_log("gatekeeper is ready").await;
    let ready = Instant::now();
    let login = format!(
        "user={} password={} dbname={DATABASE}",
        ALICE_AT_LISTENERS.name, ALICE_AT_LISTENERS.password
    );
    let listeners = sandbox.listeners();

    let browser = Browser::start(program, 1280, 900).await;
    browser.open(&format!("http://{admin}/")).await;
    browser.reads("#login h2", |text| text == "Log in").await;
    keep(&browser, "login").await;
    assert_eq!(browser.text("#page").await, "", "nothing is shown before the key");
    for (typed, then) in [("guess", "Wrong key."), (KEY, "")] {
        browser.js("document.getElementById('key').value = ''").await;
        browser.js("document.getElementById('key').focus()").await;
        browser.type_text(typed).await;
        browser.js("document.querySelector('#login button').click()").await;
        browser.reads("#denied", |text| text == then).await;
    }
    let writes_go_to =
        |name: &'static str| move |text: &str| text.contains(&format!("Writes go to {name} ("));
    browser.reads("#headline", writes_go_to("primary")).await;
    assert_eq!(browser.js("document.cookie").await, "", "no script sees the cookie");
    let complaints: Vec<_> = browser.complaints().into_iter().filter(|it| !it.contains("401")).collect();
    assert_eq!(complaints, Vec::<String>::new());

    // A client with a hostile name, pinned to its backend by a lock.
    let hostile = format!("{login} application_name='{}'", HOSTILE.replace('\'', "\\'"));
    let reader = connect(listeners[1].address, &hostile).await.unwrap();
    reader.simple_query("SELECT 1").await.unwrap();
    let writer = connect(listeners[0].address, &format!("{login} application_name=billing")).await.unwrap();
    let sessions = browser.reads("#sessions", |text| text.contains("billing") && text.contains("<img")).await;
    assert!(sessions.contains(HOSTILE), "{sessions}");
    assert_eq!(browser.js("window.taken === undefined").await, true);
    assert_eq!(browser.js("document.querySelectorAll('main img, main script').length").await, 0);
    browser.reads("#map", |text| text.contains("caught up")).await;

    // The page shows whole seconds: Gatekeeper must have run during the second before the write.
    sleep_until(ready + Duration::from_secs(2)).await;
    writer.simple_query("INSERT INTO customers (name, country) VALUES ('mine', 'NZ')").await.unwrap();
    let written =
        (jiff::Timestamp::now() - jiff::SignedDuration::from_secs(1)).strftime("%H:%M:%S").to_string();
    let address = sandbox.node("primary").address().to_string();
    keep(&browser, "before").await;

    sandbox.node("primary").crash().await.unwrap();
    let down =
        |text: &str| text.contains("The writer primary is down") && text.contains("no server accepts writes");
    browser.reads("#headline", down).await;
    browser.reads("#state", |text| text == "holding clients").await;
    sandbox.promote_secondary().await.unwrap();
    browser
        .reads("#headline", |text| text.contains("dr is declared secondary, but its server reports primary"))
        .await;
    keep(&browser, "failover").await;
    let roles = config
        .replace("name = \"primary\"\nrole = \"primary\"", "name = \"primary\"\nrole = \"replica\"")
        .replace("name = \"dr\"\nrole = \"secondary\"", "name = \"dr\"\nrole = \"primary\"");
    fs::write(gatekeeper.config_file(), roles).unwrap();
    let key = format!("authorization: Bearer {KEY}\r\n");
    assert_eq!(gatekeeper.ask("POST", "/v1/reload", &key, "").await.unwrap().status, 200);
    browser.reads("#headline", writes_go_to("dr")).await;

    // A minute later a reader looks up the server of the write.
    let answer = asked(&browser, &written).await;
    assert_eq!(answer, format!("primary ({address}) accepted writes."));
    let history = browser.text("#writers").await;
    let rows: Vec<_> =
        history.lines().filter(|line| line.contains("primary") || line.contains("dr")).collect();
    assert!(
        rows[0].starts_with("dr (") && rows.last().unwrap().starts_with(&format!("primary ({address})")),
        "{history}"
    );
    assert!(rows.iter().any(|row| row.contains("primary") && row.contains("down")), "{history}");
    let events = browser.text("#events").await;
    for event in ["endpoint primary is down", "the writer is dr", "configuration reloaded (admin)"] {
        assert!(events.contains(event), "no `{event}` in:\n{events}");
    }

    // On a phone no element overflows, and dark mode differs from light mode.
    keep(&browser, "after").await;
    browser.scheme("dark").await;
    keep(&browser, "dark").await;
    browser.resize(390, 844).await;
    let wide =
        browser.js("document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
    assert_eq!(wide, 0, "the page is wider than a phone");
    keep(&browser, "phone-dark").await;
    browser.scheme("light").await;
    keep(&browser, "phone-light").await;

    let complaints: Vec<_> = browser.complaints().into_iter().filter(|it| !it.contains("401")).collect();
    assert_eq!(complaints, Vec::<String>::new());
    browser.js("document.getElementById('logout').click()").await;
    browser.reads("#login h2", |text| text == "Log in").await;
    assert_eq!(browser.js("fetch('/v1/info').then(answer => answer.status)").await, 401);
}

#[tokio::test]
async fn the_page_shows_faults_and_sorts_sessions() {
    let Some(program) = program() else { return };
    let pool = "query_wait_timeout = \"20s\"";
    let pooled = Pooled::start(Shape { size: 1, plain: true, pool, ..Shape::default() }).await;
    let admin = crate::harness::stand::admin(&pooled.stand.server);
    let browser = Browser::start(program, 1280, 900).await;
    browser.open(&format!("http://{admin}/")).await;
    browser.reads("#state", |text| text == "healthy").await;
    let answered = async |client: &mut Frames, sql: &str| {
        client.send(&query(sql)).await;
        client.read_until(backend::READY_FOR_QUERY).await;
    };
    let parameters = [("database", DATABASE), ("application_name", "leaky-job")];
    let mut leaky = Frames::log_in(pooled.listener(), APP, &parameters).await;
    answered(&mut leaky, "SELECT 1").await;
    browser.reads("#traffic", |text| text.contains("statements/s") && text.contains("p99")).await;
    browser.reads("#map", |text| text.contains("PostgreSQL 1") && text.contains("100 %")).await;
    answered(&mut leaky, "BEGIN").await;
    answered(&mut leaky, "SELECT 1").await;
    let mut victim = pooled.client().await;
    victim.send(&query("SELECT 1")).await;

    browser.reads("#state", |text| text == "serving, with problems").await;
    let faults = browser.reads(".faults .alarm", |text| text.contains("1 session waiting, longest")).await;
    assert!(faults.contains("(app, leaky-job), idle in transaction for"), "{faults}");
    assert!(faults.contains("since ") && faults.contains("DELETE /v1/sessions/"), "{faults}");
    browser.reads(".faults .warning", |text| text.contains("Listener app: 1 transaction stuck")).await;
    let waits = format!("s for pool {DATABASE}/app@primary");
    let sessions = browser.reads("#sessions", |text| text.contains(&waits)).await;
    assert!(sessions.contains("idle in transaction "), "{sessions}");
    for (name, width, height, scheme) in [
        ("faults", 1280, 900, "light"),
        ("faults-dark", 1280, 900, "dark"),
        ("faults-phone", 390, 844, "light"),
    ] {
        browser.resize(width, height).await;
        browser.scheme(scheme).await;
        let wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.js(wide).await, 0, "{name}: wider than the window");
        // On a phone, too, the cards of both sessions are visible at once.
        let cut = "(list => list.scrollHeight - list.clientHeight)(document.querySelector('#sessions'))";
        assert_eq!(browser.js(cut).await, 0, "{name}: sessions are cut off");
        keep(&browser, name).await;
    }
    browser.resize(1280, 900).await;
    let ids =
        "[...document.querySelectorAll('#sessions tbody tr')].map(row => Number(row.firstChild.textContent))";
    let click = "document.querySelector('#sessions [data-sort=id]').click()";
    let leading = async || browser.js(&format!("{ids}[0] - {ids}[1]")).await.as_f64().unwrap();
    assert!(leading().await > 0.0, "the waiting session comes first");
    browser.js(click).await;
    assert!(leading().await < 0.0, "ascending");
    browser.js(click).await;
    assert!(leading().await > 0.0, "descending");
    browser.js(click).await;
    assert_eq!(browser.text("#sessions [aria-sort]").await, "", "the order of the server again");

    answered(&mut leaky, "COMMIT").await;
    victim.read_until(backend::READY_FOR_QUERY).await;
    browser.reads("#state", |text| text == "healthy").await;
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_split_listener_is_shown_with_all_targets() {
    let Some(program) = program() else { return };
    let split = Split::with("").await;
    let browser = Browser::start(program, 1280, 900).await;
    browser.open(&format!("http://{}:8080/", split.sandbox.block().ip(100))).await;
    browser.reads(".listener .targets", |text| text.contains("primary") && text.contains("reads")).await;
    assert_eq!(browser.text(".listener .targets small").await, "", "no share without statements");
    let mut client = split.client().await;
    for sql in ["SELECT 1", "CREATE TABLE mine (x int)"] {
        client.send(&query(sql)).await;
        client.read_until(backend::READY_FOR_QUERY).await;
    }
    let shares = |text: &str| text.lines().filter(|line| line.contains("50 %")).count() == 2;
    let targets = browser.reads(".listener .targets", shares).await;
    assert!(targets.contains("→ primary") && targets.contains("→ reads"), "{targets}");
    assert_eq!(browser.js("document.querySelector('.listener').dataset.targets").await, "primary reads");
    browser.reads("#map", |text| text.contains("caught up")).await;
    keep(&browser, "split").await;
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn the_page_marks_outdated_data() {
    let Some(program) = program() else { return };
    let stand = crate::harness::Stand::passthrough().await;
    let admin = crate::harness::stand::admin(&stand.server);
    let browser = Browser::start(program, 1280, 900).await;
    browser.open(&format!("http://{admin}/")).await;
    browser.reads("#state", |text| text == "healthy").await;
    assert_eq!(
        browser.js("document.getElementById('login').hidden").await,
        true,
        "there is no key to ask for"
    );
    drop(stand.gatekeeper);
    browser.reads("#state", |text| text.starts_with("not live: last seen ")).await;
}
