//! PEM files: certificate bundles, chains and keys.

use std::{
    fs,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest;
use rustls::{RootCertStore, crypto::CryptoProvider, sign::CertifiedKey};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject},
};
use zeroize::Zeroizing;

use super::{TlsFileError, certificate, settings::IdentityFiles};

/// Contents of files read together: the same bytes serve for change detection and for use.
pub(super) struct PemFiles {
    files: Vec<(PathBuf, Zeroizing<Vec<u8>>)>,
}

/// Bytes that a certificate or key file may hold; the system's own bundle has about 200 kB.
const MAX_FILE_BYTES: u64 = 4 << 20;

// === impl PemFiles ===

impl PemFiles {
    /// Reads all of `paths`.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, TlsFileError> {
        let files = paths
            .iter()
            .map(|path| {
                let bytes = read(path).map_err(|source| TlsFileError::Read { path: path.clone(), source })?;
                Ok((path.clone(), bytes))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { files })
    }

    /// Digest of all files.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        for (path, bytes) in &self.files {
            context.update(path.as_os_str().as_encoded_bytes());
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }

    /// Certificates of a file, at least one.
    pub(super) fn certificates(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
        let certificates = CertificateDer::pem_slice_iter(self.file_bytes(path))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| not_pem(path, &error))?;
        if certificates.is_empty() {
            return Err(TlsFileError::NoCertificate(path.to_owned()));
        }
        Ok(certificates)
    }

    /// A certificate chain with the matching key.
    pub(super) fn identity(
        &self,
        files: &IdentityFiles,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsFileError> {
        let chain = self.certificates(&files.cert)?;
        let key = provider
            .key_provider
            .load_private_key(self.read_private_key(&files.key)?)
            .map_err(|error| TlsFileError::BadKey { path: files.key.clone(), reason: error.to_string() })?;
        // Compared here and not by rustls, which cannot read a leaf of version 1.
        let leaf = chain.first().and_then(certificate::parse_certificate).ok_or_else(|| {
            TlsFileError::BadCertificate {
                path: files.cert.clone(),
                reason: "the first one is malformed".to_owned(),
            }
        })?;
        if key.public_key().is_some_and(|public| *public != *leaf.public_key().raw) {
            return Err(TlsFileError::KeyMismatch { cert: files.cert.clone(), key: files.key.clone() });
        }
        drop(leaf);
        Ok(CertifiedKey::new(chain, key))
    }

    fn read_private_key(&self, path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
        let bytes = self.file_bytes(path);
        PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
            pem::Error::NoItemsFound if is_encrypted(bytes) => TlsFileError::EncryptedKey(path.to_owned()),
            pem::Error::NoItemsFound => TlsFileError::NoKey(path.to_owned()),
            error => not_pem(path, &error),
        })
    }

    fn file_bytes(&self, path: &Path) -> &[u8] {
        self.files.iter().find(|(read, _)| read == path).map_or(&[], |(_, bytes)| bytes)
    }
}

/// Trust in each certificate of a bundle.
pub(super) fn roots(bundle: &[CertificateDer<'static>], path: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    for certificate in bundle {
        roots.add(certificate.clone()).map_err(|error| TlsFileError::BadCertificate {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    }
    Ok(roots)
}

fn read(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    use std::io::Read as _;
    let mut bytes = Zeroizing::new(Vec::new());
    fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 4 MiB"));
    }
    Ok(bytes)
}

fn is_encrypted(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, b"ENCRYPTED").is_some()
}

/// Describes the problem without contents of the file, which may be a key.
fn not_pem(path: &Path, error: &pem::Error) -> TlsFileError {
    let reason = match error {
        pem::Error::MissingSectionEnd { .. } => "a section has no end: is the file only half written?",
        pem::Error::IllegalSectionStart { .. } => "a section does not begin as it should",
        pem::Error::Base64Decode(_) => "a section is not base64",
        _ => "it cannot be read",
    };
    TlsFileError::Pem { path: path.to_owned(), reason: reason.to_owned() }
}
