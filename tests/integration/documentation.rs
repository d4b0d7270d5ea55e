//! Commands of README and `docs/`, run as a reader runs them: in one folder, with the program on the path.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use gatekeeper::testing::sandbox::{DATABASE, FakeGoogle, SERVICE_ACCOUNT, Sandbox, SandboxOptions};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt as _;

use crate::harness::{
    pages::{Page, RUN, Test},
    pki::Pki,
};

/// The password of every user in the users file.
const PASSWORD: &str = "reader-password";
/// The console's user in the pages.
const OPERATOR: &str = "alice@example.com";

/// A cluster, a folder with the files that the pages name, and the program on the path.
struct Stage {
    folder: PathBuf,
    /// Addresses, paths and names of the pages, with their replacements.
    here: Vec<(&'static str, String)>,
    environment: Vec<(&'static str, String)>,
    _sandbox: Sandbox,
    _google: FakeGoogle,
}

impl Stage {
    async fn new(config: &str) -> Self {
        let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
        let google = FakeGoogle::start_for(sandbox.tokens()).await.unwrap();
        let folder = sandbox.folder().to_owned();
        let identity = Pki::new(&folder, "clients").issue("tls");
        let ip = sandbox.block().ip(100);
        let file = |name: &str| folder.join(name).display().to_string();
        let here = vec![
            ("10.20.30.40:5432", sandbox.endpoint("primary").address().to_string()),
            ("10.20.30.41:5432", sandbox.endpoint("reads").address().to_string()),
            (
                "/etc/gatekeeper/orders-ca.pem",
                sandbox.primary_cluster().authority().ca_file().display().to_string(),
            ),
            ("/etc/gatekeeper/tls.crt", identity.cert.display().to_string()),
            ("/etc/gatekeeper/tls.key", identity.key.display().to_string()),
            ("/etc/gatekeeper/users.toml", file("users.toml")),
            ("127.0.0.1:15432", format!("{ip}:15432")),
            ("0.0.0.0:15432", format!("{ip}:15432")),
            ("0.0.0.0:15433", format!("{ip}:15433")),
            ("host=127.0.0.1 port=15432", format!("host={ip} port=15432")),
            ("127.0.0.1:8080", format!("{ip}:8080")),
            ("orders-app@my-project.iam", SERVICE_ACCOUNT.to_owned()),
            ("dbname=orders", format!("dbname={DATABASE}")),
        ];
        let bin = folder.join("bin");
        write_program(&bin);
        fs::write(folder.join("psqlrc"), "\\set ON_ERROR_STOP on\n").unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let postgresql = sandbox.installation().bin_dir().display();
        let environment = vec![
            ("PATH", format!("{}:{postgresql}:{path}", bin.display())),
            ("HOME", folder.display().to_string()),
            ("PGPASSWORD", PASSWORD.to_owned()),
            ("PSQLRC", file("psqlrc")),
            ("CLOUDSDK_CONFIG", folder.display().to_string()),
            ("GCE_METADATA_HOST", google.host()),
            ("GATEKEEPER_API_HOST", ip.to_string()),
            ("ADMIN_API_KEY", String::new()),
            ("GATEKEEPER_CONSOLE_ADMIN_USERS", OPERATOR.to_owned()),
            ("GATEKEEPER_AUDIT_FILE", file("audit.jsonl")),
        ];
        let stage = Self { folder, here, environment, _sandbox: sandbox, _google: google };
        fs::write(stage.folder.join("gatekeeper.toml"), stage.translate(config)).unwrap();
        stage.sh(&format!("echo '[users]' > users.toml; for user in {SERVICE_ACCOUNT} {OPERATOR}; do echo {PASSWORD} | gatekeeper verifier $user >> users.toml; done")).await;
        stage
    }

    /// The text with the addresses, paths and names of the stage.
    fn translate(&self, text: &str) -> String {
        self.here.iter().fold(text.to_owned(), |text, (there, here)| text.replace(there, here))
    }

    /// Runs a block of a page; the password is typed at the beginning.
    async fn sh(&self, block: &str) {
        let mut shell = tokio::process::Command::new("sh");
        shell.args(["-euc", &self.translate(block)]).current_dir(&self.folder).kill_on_drop(true);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if ["GATEKEEPER_", "PG", "GOOGLE_"].iter().any(|prefix| name.starts_with(prefix)) {
                shell.env_remove(name);
            }
        }
        shell.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let pipes = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        let texts = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success(), "{block}\nended with {}:\n{}", output.status, texts.concat());
    }

    /// Runs statements of a page, in the console or in the application's database.
    async fn sql(&self, statements: &str, database: &str, user: &str) {
        fs::write(self.folder.join("block.sql"), statements).unwrap();
        let target = format!("host=127.0.0.1 port=15432 dbname={database} user={user}");
        self.sh(&format!("psql -f block.sql '{target}'")).await;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let pid = fs::read_to_string(self.folder.join("gatekeeper.pid")).ok();
        if let Some(pid) = pid.and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?)) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Makes `bin/gatekeeper`: the program. `run` returns once the program serves, as later commands require.
fn write_program(bin: &Path) {
    fs::create_dir(bin).unwrap();
    let file = bin.join("gatekeeper");
    let program = env!("CARGO_BIN_EXE_gatekeeper");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = run ] || exec {program} \"$@\"\n\
         {program} \"$@\" < /dev/null > gatekeeper.log 2>&1 &\necho $! > gatekeeper.pid\n\
         {program} wait --timeout 30s --config gatekeeper.toml || {{ cat gatekeeper.log; exit 1; }}\n"
    );
    fs::write(&file, script).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs the blocks of a page in order. A page that starts the program uses its own configuration; other pages use that
/// of the README.
/// the program runs with that of the README.
async fn run(name: &str) {
    let (page, readme) = (Page::read(name), Page::read("README.md"));
    let starts = page.blocks().iter().any(|block| block.text.contains("gatekeeper run"));
    let config = |page: &Page| {
        let blocks = page.blocks();
        blocks.iter().find(|block| block.language == "toml").map(|block| block.text.to_owned())
    };
    let own = if starts { config(&page) } else { None };
    let stage = Stage::new(&own.or_else(|| config(&readme)).expect("the README has a configuration")).await;
    if !starts {
        stage.sh("gatekeeper run --config gatekeeper.toml").await;
    }
    let mut count = 0;
    for block in page.blocks() {
        match (block.language, page.test_of(block)) {
            ("sh", Test::Run) if name == "docs/audit.md" => {
                stage.sql("SELECT 1", DATABASE, SERVICE_ACCOUNT).await;
                stage.sh("gatekeeper stop --wait --config gatekeeper.toml").await;
                stage.sh(block.text).await;
            }
            ("sh", Test::Run) => stage.sh(block.text).await,
            ("sql", Test::Run) if name == "docs/console.md" => {
                stage.sql(block.text, "gatekeeper", OPERATOR).await;
            }
            ("sql", Test::Run) => stage.sql(block.text, DATABASE, SERVICE_ACCOUNT).await,
            _ => continue,
        }
        count += 1;
    }
    assert!(count > 0, "{name} has no commands");
}

macro_rules! pages {
    ($($test:ident: $page:literal),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $test() {
                run($page).await;
            }
        )+

        #[test]
        fn every_page_with_commands_is_run() {
            assert_eq!([$($page),+], RUN);
        }
    };
}

pages! {
    the_commands_of_the_readme_work: "README.md",
    the_commands_for_alloydb_work: "docs/alloydb.md",
    the_commands_about_the_audit_log_work: "docs/audit.md",
    the_commands_about_authentication_work: "docs/auth.md",
    the_commands_of_the_console_work: "docs/console.md",
    the_commands_for_deployment_work: "docs/deploy.md",
    the_commands_about_failover_work: "docs/failover.md",
    the_commands_for_migration_work: "docs/migrate-from-pgbouncer.md",
    the_commands_about_pooling_work: "docs/pooling.md",
    the_commands_about_read_routing_work: "docs/read-routing.md",
}

#[tokio::test]
#[should_panic(expected = "no such")]
async fn a_command_that_fails_is_found() {
    let readme = Page::read("README.md");
    let config = readme.blocks().into_iter().find(|block| block.language == "toml").unwrap();
    let stage = Stage::new(config.text).await;
    stage.sh("gatekeeper check --config gatekeeper.toml\ngatekeeper check --config none.toml || { echo no such; false; }").await;
}
