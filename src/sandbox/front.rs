//! Gatekeeper's configuration for a sandbox, in the words of `config/example.toml`.

use std::{fmt::Write as _, fs, net::SocketAddr, path::PathBuf};

use super::{ALICE, NativeUser, SERVICE_ACCOUNT, Sandbox, SandboxEndpoint, SandboxError};

/// Client login at the listeners of [`Sandbox::config_toml`]: Gatekeeper checks the password, the servers get a token.
pub const ALICE_AT_LISTENERS: NativeUser = NativeUser { name: ALICE, password: "alice-password" };

/// The verifier of that password, made with a salt that is no secret.
const ALICE_VERIFIER: &str = "SCRAM-SHA-256$4096:Z2F0ZWtlZXBlci1kZW1vIQ==$DLtBO0flxocoZ5O9kGFS+haDIRKaGqItWUP6NaoqRUA=:\
                              22RkDzI/DPkA78Lw5mXKweyoMImX8t7pWb63INknRq8=";
/// The host part of the address where the listeners and the admin API are.
const FRONT_HOST_PART: u8 = 100;
const ADMIN_PORT: u16 = 8080;

/// A listener of [`Sandbox::config_toml`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontListener {
    /// Name of the listener.
    pub name: &'static str,
    /// Route in the configuration.
    pub route: &'static str,
    /// Address of the listener.
    pub address: SocketAddr,
}

const LISTENERS: [(&str, &str, u16); 4] = [
    ("app", "primary", 15432),
    ("reads", "read-pool", 15433),
    ("dr", "endpoint:dr", 15434),
    ("dr-reads", "endpoint:dr-reads", 15435),
];

impl Sandbox {
    /// Listeners of [`Sandbox::config_toml`], one for each endpoint.
    #[must_use]
    pub fn listeners(&self) -> Vec<FrontListener> {
        let ip = self.block().ip(FRONT_HOST_PART);
        LISTENERS.map(|(name, route, port)| FrontListener { name, route, address: (ip, port).into() }).into()
    }

    /// Where the admin API of [`Sandbox::config_toml`] listens.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        (self.block().ip(FRONT_HOST_PART), ADMIN_PORT).into()
    }

    /// Where the audit log of [`Sandbox::config_toml`] is written.
    #[must_use]
    pub fn audit_file(&self) -> PathBuf {
        self.folder().join("audit.jsonl")
    }

    /// Gatekeeper configuration for the sandbox: a listener per endpoint with client login [`ALICE_AT_LISTENERS`];
    /// token logins to every endpoint, over connections with verified names; audited statements. Also writes the users
    /// file.
    ///
    /// # Errors
    /// When the users file cannot be written.
    pub fn config_toml(&self) -> Result<String, SandboxError> {
        let login = format!(
            "login = {{ token_command = {:?}, users = [\"{ALICE}\", \"{SERVICE_ACCOUNT}\"] }}\n\
             probe = {{ user = \"{SERVICE_ACCOUNT}\" }}\n",
            self.tokens().command_words(),
        );
        self.config_toml_with(&login)
    }

    /// Returns a configuration with tokens of a metadata server, for the account [`ALICE`].
    pub(super) fn iam_config_toml(&self) -> Result<String, SandboxError> {
        self.config_toml_with(&format!("login = {{ iam = \"metadata\", users = [\"{ALICE}\"] }}\n"))
    }

    /// Configuration with `login` in place of the endpoints' logins.
    fn config_toml_with(&self, login: &str) -> Result<String, SandboxError> {
        let users_file = self.folder().join("users.toml");
        fs::write(&users_file, format!("[users]\n\"{ALICE}\" = \"{ALICE_VERIFIER}\"\n"))
            .map_err(SandboxError::io("writing the users file"))?;
        let mut toml = String::new();
        for cluster in self.clusters() {
            let replica_of =
                cluster.replica_of.map(|of| format!("replica_of = \"{of}\"\n")).unwrap_or_default();
            let (name, region, ca) = (cluster.name, cluster.region, cluster.authority.ca_file().display());
            let head = format!(
                "[[cluster]]\nname = \"{name}\"\nregion = \"{region}\"\n{replica_of}ca_file = \"{ca}\"\n\n"
            );
            toml.push_str(&head);
            for endpoint in &cluster.endpoints {
                toml.push_str(&endpoint_toml(endpoint, login));
            }
        }
        for FrontListener { name, route, address } in self.listeners() {
            // Writing to a String cannot fail.
            let _ = writeln!(
                toml,
                "[[listener]]\nname = \"{name}\"\nbind = \"{address}\"\nroute = \"{route}\"\n\
                 auth = {{ method = \"scram\", users_file = \"{}\" }}\n",
                users_file.display()
            );
        }
        let (admin, audit) = (self.admin_address(), self.audit_file());
        let _ = writeln!(
            toml,
            "[admin]\nbind = \"{admin}\"\n\n[audit]\nfile = \"{}\"\nlevel = \"statements\"",
            audit.display()
        );
        Ok(toml)
    }
}

fn endpoint_toml(endpoint: &SandboxEndpoint, login: &str) -> String {
    let SandboxEndpoint { name, role, dns_name, .. } = endpoint;
    format!(
        "[[cluster.endpoint]]\nname = \"{name}\"\nrole = \"{role}\"\naddress = \"{}\"\n\
         tls = {{ mode = \"verify-full\", server_name = \"{dns_name}\" }}\n{login}\n",
        endpoint.address(),
    )
}
