//! The cryptography: aws-lc-rs, named each time, never the process's default.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// Towards endpoints. PostgreSQL up to 17 accepts P-256 only (`ssl_ecdh_curve = prime256v1`), and a client sends a key
/// share for the first group: any other first group would cost a round trip (HelloRetryRequest). PostgreSQL 18 accepts
/// P-256 as well.
pub(super) fn towards_endpoints() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.kx_groups.retain(|group| group.name() != aws_lc_rs::kx_group::SECP256R1.name());
    provider.kx_groups.insert(0, aws_lc_rs::kx_group::SECP256R1);
    Arc::new(provider)
}

/// Towards clients: the post-quantum group first, for clients that offer the group.
pub(super) fn towards_clients() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
