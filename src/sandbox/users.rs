//! The users that every sandbox has.

/// A user with a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeUser {
    /// The role's name.
    pub name: &'static str,
    /// The password, publicly known.
    pub password: &'static str,
}

/// The superuser.
pub const SUPERUSER: NativeUser = NativeUser { name: "postgres", password: "postgres-password" };
/// Owns database [`DATABASE`]; SCRAM-SHA-256.
pub const APP: NativeUser = NativeUser { name: "app", password: "app-password" };
/// May use the objects of [`APP`]; MD5.
pub const APP_MD5: NativeUser = NativeUser { name: "app_md5", password: "app-md5-password" };
/// May replicate; SCRAM-SHA-256.
pub const REPLICATOR: NativeUser = NativeUser { name: "replicator", password: "replicator-password" };

/// IAM user: a person.
pub const ALICE: &str = "alice@example.com";
/// IAM user: a service account, which may also read the servers' statistics.
pub const SERVICE_ACCOUNT: &str = "my-sa@my-project.iam";

/// The application's database.
pub const DATABASE: &str = "app";
