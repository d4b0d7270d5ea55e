//! Looks into the files that a configuration mentions, so that a wrong one is found before a connection needs it.

use std::{error::Error, path::Path};

use super::{problem::Origin, reader::Section};
use crate::{
    tls::{ClientTls, EndpointTls, ListenerTls, ServerTls, TlsFileError},
    topology::Address,
};

/// Where a file was named: the origin of its path, and the setting.
pub(super) struct Named<'n> {
    pub(super) path: Option<&'n Path>,
    pub(super) origin: Origin,
    pub(super) subject: String,
}

/// Loads what TLS towards an endpoint needs; `named` are its files.
pub(super) fn endpoint_tls(section: &Section<'_>, tls: &EndpointTls, address: &Address, named: &[Named<'_>]) {
    if section.context.follow
        && let Err(error) = ClientTls::new(tls, address)
    {
        report(section, &error, named);
    }
}

/// Loads what TLS towards clients needs; `named` are its files.
pub(super) fn listener_tls(section: &Section<'_>, tls: &ListenerTls, named: &[Named<'_>]) {
    if section.context.follow
        && let Err(error) = ServerTls::new(tls)
    {
        report(section, &error, named);
    }
}

fn report(section: &Section<'_>, error: &TlsFileError, named: &[Named<'_>]) {
    let (path, remedy) = match error {
        TlsFileError::Read { path, .. } => (Some(path), "name a file that this process may read"),
        TlsFileError::Pem { path, .. } | TlsFileError::BadCertificate { path, .. } => {
            (Some(path), "write certificates or a key in PEM")
        }
        TlsFileError::NoCertificate(path) => (Some(path), "write one or more certificates in PEM"),
        TlsFileError::NoKey(path) | TlsFileError::BadKey { path, .. } => {
            (Some(path), "write a private key in PEM")
        }
        TlsFileError::EncryptedKey(path) => {
            (Some(path), "store the key without a passphrase, readable by us alone")
        }
        TlsFileError::KeyMismatch { key, .. } => {
            (Some(key), "name the key that the certificate was made for")
        }
        TlsFileError::ServerName(_) => {
            (None, "write the name that the server's certificate carries in `server_name`")
        }
        TlsFileError::NoSystemRoots => (None, "name a CA file in `ca_file`"),
        TlsFileError::NoClientCa | TlsFileError::Settings(_) => (None, "correct the TLS settings"),
    };
    let mut what = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        what.push_str(&format!(": {next}"));
        cause = next.source();
    }
    let place = named.iter().find(|named| path.is_some() && named.path == path.map(AsRef::as_ref));
    let (origin, subject) = match place {
        Some(named) => (&named.origin, named.subject.clone()),
        None => (&section.origin, section.title.clone()),
    };
    section.context.report.problem(origin, subject, what, remedy);
}

impl<'n> Named<'n> {
    /// The file that `key` of `section` names.
    pub(super) fn new(section: &Section<'_>, key: &str, path: Option<&'n Path>) -> Self {
        Self { path, origin: section.place(key), subject: section.named(key) }
    }
}
