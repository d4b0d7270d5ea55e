//! `tls-server-end-point`: equal on both sides, and equal to OpenSSL's result.

use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, pem::PemObject};

use super::{
    super::certificate::end_point,
    pki::{Ca, Folder, endpoint, leaf, towards},
    *,
};

#[tokio::test]
async fn both_sides_bind_to_the_same_bytes() {
    for (algorithm, length) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, Some(32)),
        (&rcgen::PKCS_ECDSA_P384_SHA384, Some(48)),
        (&rcgen::PKCS_ED25519, None),
    ] {
        let folder = Folder::new();
        let key = KeyPair::generate_for(algorithm).unwrap();
        let cert = leaf().self_signed(&key).unwrap().pem();
        let server = folder.server(&(cert.clone(), key.serialize_pem()));
        let client = towards("db.internal", &endpoint(TlsMode::VerifyFull, &folder.write("ca.pem", &cert)));
        let (one, other) = shaken(&client, &server).await;
        assert_eq!(one.server_end_point().map(|hash| hash.len()), length);
        assert_eq!(one.server_end_point(), other.server_end_point());
    }
}

#[test]
fn the_hash_is_that_of_the_signature_and_sha_256_instead_of_sha_1() {
    // `openssl x509 -in FILE -outform der | openssl dgst -sha256` (`-sha384`)
    for (pem, expected) in [
        (
            include_str!("../../../tests/data/tls/rsa-sha1.pem"),
            "8fb31a6d5d096ff75f1e662e20df98c73170d4c2c347e7070d4faa74d7975367",
        ),
        (
            include_str!("../../../tests/data/tls/rsa-pss-sha384.pem"),
            "a4555117186ace9de8d1cab2d6d2d58753d23bd4f36ce015173c2143cdce5dde52c9afe3ec26d02d6a4bae1d0a2f3612",
        ),
    ] {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let hash = end_point(&der).unwrap();
        assert_eq!(hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), expected);
    }
}

#[test]
fn what_is_no_certificate_has_no_binding() {
    let ca = Ca::new("CA");
    let der = CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap();
    for length in [0, 1, 10, der.len() - 1] {
        assert!(end_point(&CertificateDer::from(der[..length].to_vec())).is_none());
    }
}

#[test]
fn a_stream_is_small() {
    assert!(size_of::<Stream>() <= 48, "{}", size_of::<Stream>());
}
