//! Certificate authority of a cluster: signs server certificates, and supports rotation with an overlap.

use std::{
    fs, io,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::{SandboxError, account::Account};

/// Certificate authority of a cluster.
///
/// A rotation takes three steps: [`begin_rotation`](Self::begin_rotation) makes a new CA and publishes both; the servers
/// then get new certificates; [`finish_rotation`](Self::finish_rotation) withdraws the old CA.
pub struct Authority {
    cluster: String,
    file: PathBuf,
    foreign_file: PathBuf,
    state: Mutex<AuthorityState>,
}

type Issuer = CertifiedIssuer<'static, KeyPair>;

struct AuthorityState {
    /// Signs new certificates.
    current: Issuer,
    /// Trusted, without new signatures.
    previous: Option<Issuer>,
    /// Not trusted; created on first use.
    foreign: Issuer,
    /// Number of CAs so far: part of the name, to distinguish CAs.
    serial: u32,
}

/// Kind of a server certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Certificate {
    /// The endpoint's DNS name and no address, as AlloyDB's.
    #[default]
    Named,
    /// The DNS name and the address.
    NamedWithAddress,
    /// The right name, by an unknown authority.
    UnknownAuthority,
    /// The right name, expired.
    Expired,
    /// The right name, not valid yet.
    NotYetValid,
}

/// A certificate and the key, as files for `ssl_cert_file` and `ssl_key_file`.
pub(super) struct Identity {
    certificate: String,
    key: String,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Authority {
    /// A new authority that publishes `NAME-ca.pem` in `folder`.
    pub(super) fn new(cluster: &str, folder: &Path) -> Result<Self, SandboxError> {
        let authority = Self {
            cluster: cluster.to_owned(),
            file: folder.join(format!("{cluster}-ca.pem")),
            foreign_file: folder.join(format!("{cluster}-foreign-ca.pem")),
            state: Mutex::new(AuthorityState {
                current: new_ca(&format!("{cluster} CA 1"))?,
                previous: None,
                foreign: new_ca(&format!("{cluster} foreign CA"))?,
                serial: 1,
            }),
        };
        {
            let state = authority.state();
            publish_atomically(&authority.foreign_file, &state.foreign.pem())?;
            publish_atomically(&authority.file, &state.current.pem())?;
        }
        Ok(authority)
    }

    /// PEM file of the trusted CAs: two during a rotation. Replaced by renaming.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.file
    }

    /// The PEM file of a CA that did not sign any server's certificate.
    #[must_use]
    pub fn foreign_ca_file(&self) -> &Path {
        &self.foreign_file
    }

    /// Creates a new signing CA, and publishes both CAs.
    ///
    /// # Errors
    /// When the file cannot be replaced.
    pub fn begin_rotation(&self) -> Result<(), SandboxError> {
        let mut state = self.state();
        state.serial += 1;
        let new = new_ca(&format!("{} CA {}", self.cluster, state.serial))?;
        let old = std::mem::replace(&mut state.current, new);
        publish_atomically(&self.file, &(old.pem() + &state.current.pem()))?;
        state.previous = Some(old);
        Ok(())
    }

    /// Ends the rotation: publishes the new CA only.
    ///
    /// # Errors
    /// When the file cannot be replaced.
    pub fn finish_rotation(&self) -> Result<(), SandboxError> {
        let mut state = self.state();
        publish_atomically(&self.file, &state.current.pem())?;
        state.previous = None;
        Ok(())
    }

    pub(super) fn issue_certificate(
        &self,
        kind: Certificate,
        name: &str,
        address: IpAddr,
    ) -> Result<Identity, SandboxError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let now = SystemTime::now();
        let (from, to) = match kind {
            Certificate::Expired => (now - 2 * DAY, now - DAY),
            Certificate::NotYetValid => (now + DAY, now + 2 * DAY),
            _ => (now - DAY, now + 30 * DAY),
        };
        (params.not_before, params.not_after) = (from.into(), to.into());
        if kind == Certificate::NamedWithAddress {
            params.subject_alt_names.push(SanType::IpAddress(address));
        }
        let state = self.state();
        let issuer = if kind == Certificate::UnknownAuthority { &state.foreign } else { &state.current };
        let certificate = params.signed_by(&key, issuer)?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    fn state(&self) -> MutexGuard<'_, AuthorityState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Identity {
    /// Replaces `server.crt` and `server.key` in `folder`, for the servers' account alone.
    pub(super) fn install(&self, folder: &Path, account: Account) -> io::Result<()> {
        for (name, text) in [("server.crt", &self.certificate), ("server.key", &self.key)] {
            let (file, new) = (folder.join(name), folder.join(format!("{name}.new")));
            let _ = fs::remove_file(&new);
            let mut options = fs::OpenOptions::new();
            let mut open = options.write(true).create_new(true).mode(0o600).open(&new)?;
            io::Write::write_all(&mut open, text.as_bytes())?;
            account.give_ownership(&new)?;
            fs::rename(new, file)?;
        }
        Ok(())
    }
}

fn new_ca(name: &str) -> Result<Issuer, SandboxError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = SystemTime::now();
    (params.not_before, params.not_after) = ((now - 3 * DAY).into(), (now + 365 * DAY).into());
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// Replaces `file` atomically.
fn publish_atomically(file: &Path, pem: &str) -> Result<(), SandboxError> {
    let new = file.with_extension("pem.new");
    fs::write(&new, pem)
        .and_then(|()| fs::rename(&new, file))
        .map_err(SandboxError::io(format!("publishing {}", file.display())))
}
