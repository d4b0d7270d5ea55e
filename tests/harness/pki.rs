//! A certificate authority of the test's own: for Gatekeeper towards its clients, and for clients.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// A certificate authority that keeps its files in one folder.
pub struct Pki {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The PEM file of the CA's certificate.
    pub ca_file: PathBuf,
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Pki {
    /// Makes the authority `name`, and `folder/NAME-ca.pem`.
    pub fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, format!("{name} CA"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let ca_file = folder.join(format!("{name}-ca.pem"));
        fs::write(&ca_file, issuer.pem()).unwrap();
        Self { folder: folder.to_owned(), issuer, ca_file }
    }

    /// Makes `NAME.crt` and `NAME.key`, and replaces existing files.
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_for(name, Duration::from_secs(30 * 86_400))
    }

    /// The same, good from yesterday on for `life` from now.
    pub fn issue_for(&self, name: &str, life: Duration) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let now = SystemTime::now();
        params.not_before = (now - Duration::from_secs(86_400)).into();
        params.not_after = (now + life).into();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let identity = Identity {
            cert: self.folder.join(format!("{name}.crt")),
            key: self.folder.join(format!("{name}.key")),
        };
        replace(&identity.cert, &certificate.pem());
        replace(&identity.key, &key.serialize_pem());
        identity
    }
}

/// Replaces `file` in one step, for its owner alone, as `libpq` wants it for keys.
pub fn replace(file: &Path, text: &str) {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let new = file.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut open = options.write(true).create(true).truncate(true).mode(0o600).open(&new).unwrap();
    open.write_all(text.as_bytes()).unwrap();
    fs::rename(new, file).unwrap();
}
