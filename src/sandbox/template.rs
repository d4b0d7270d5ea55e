//! The template of all data directories: `initdb` and the schema once per machine and version, then copies.

use std::{
    fs::{self, File},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{Seek as _, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Installation, SandboxError,
    run::{run, wait_until},
};

/// The roles and databases that every server starts with.
const CLUSTER_SQL: &str = include_str!("sql/cluster.sql");
/// Contents of database `app`.
const APP_SQL: &str = include_str!("sql/app.sql");
/// Counts up when the steps below change, so that templates made by an older build are left alone.
const STEPS_VERSION: u32 = 2;
/// The first object id of users' objects: `FirstNormalObjectId` of PostgreSQL.
const FIRST_NORMAL_OBJECT_ID: u32 = 16384;
/// How long `initdb` and the schema may take, on a machine that is busy.
const INITDB_WAIT_LIMIT: Duration = Duration::from_secs(60);

/// The folder in memory where templates and running sandboxes live, made if need be.
///
/// # Errors
/// If the folder cannot be created, or belongs to another user.
pub(super) fn template_folder() -> Result<PathBuf, SandboxError> {
    let user = rustix::process::geteuid().as_raw();
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let ground = parent.join(format!("gatekeeper-sandbox-{user}"));
    let what = || format!("making {}", ground.display());
    match fs::create_dir(&ground) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(SandboxError::io(what())(error));
        }
        _ => {}
    }
    // The name is predictable: a folder of another user is not used.
    let owner = fs::symlink_metadata(&ground).map_err(SandboxError::io(what()))?;
    if !owner.is_dir() || owner.uid() != user {
        let error = std::io::Error::other("it belongs to another user");
        return Err(SandboxError::io(what())(error));
    }
    // The servers' account may pass through, without listing.
    fs::set_permissions(&ground, fs::Permissions::from_mode(0o711)).map_err(SandboxError::io(what()))?;
    Ok(ground)
}

/// A cleanly stopped data directory as a template for every server of the version: with a common system identifier,
/// each server can follow each other.
///
/// Cancel safety: a dropped future leaves an unfinished folder that the next caller removes.
pub(super) async fn template(ground: &Path, installation: &Installation) -> Result<PathBuf, SandboxError> {
    let mut recipe = DefaultHasher::new();
    (CLUSTER_SQL, APP_SQL, STEPS_VERSION, installation.version(), installation.bin_dir()).hash(&mut recipe);
    let name = format!("template-{}-{:016x}", installation.major(), recipe.finish());
    let (done, unfinished) = (ground.join(&name), ground.join(format!("{name}.unfinished")));
    if done.is_dir() {
        return Ok(done.join("data"));
    }
    let lock = ground.join(format!("{name}.lock"));
    let lock = File::create(&lock).map_err(SandboxError::io(format!("creating {}", lock.display())))?;
    wait_until("another sandbox finishing the template", INITDB_WAIT_LIMIT, async || {
        Ok(lock.try_lock().map_err(|busy| busy.to_string()))
    })
    .await?;
    if !done.is_dir() {
        let what = "making the template of data directories";
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).map_err(SandboxError::io(what))?;
        }
        fs::create_dir(&unfinished).map_err(SandboxError::io(what))?;
        installation.account().give_ownership(&unfinished).map_err(SandboxError::io(what))?;
        make_template(&unfinished, installation).await?;
        fs::rename(&unfinished, &done).map_err(SandboxError::io(what))?;
    }
    Ok(done.join("data"))
}

async fn make_template(folder: &Path, installation: &Installation) -> Result<(), SandboxError> {
    let data = folder.join("data");
    let mut initdb = installation.command("initdb");
    // Segments of 1 MiB keep a fresh server at 28 MiB.
    initdb.args([
        "--no-sync",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--wal-segsize=1",
        "-U",
        "postgres",
    ]);
    initdb.arg("-D").arg(&data);
    run("initdb", initdb).await?;
    // Single-user mode would number the application's objects among PostgreSQL's own.
    let mut numbers = installation.command("pg_resetwal");
    numbers.arg(format!("--next-oid={FIRST_NORMAL_OBJECT_ID}")).arg("-D").arg(&data);
    run("setting the first object id", numbers).await?;
    // Single-user mode: no socket, and the server ends with the process.
    for (database, sql) in [("postgres", CLUSTER_SQL), ("app", APP_SQL)] {
        let mut server = installation.command("postgres");
        server.args(["--single", "-j", "-F", "-c", "exit_on_error=on", "-D"]).arg(&data).arg(database);
        server.stdin(script(sql).map_err(SandboxError::io("writing the template's SQL"))?);
        run("filling the template", server).await?;
    }
    Ok(())
}

fn script(sql: &str) -> std::io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(sql.as_bytes())?;
    file.rewind()?;
    Ok(file)
}
