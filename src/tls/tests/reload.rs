//! Files: invalid contents, and changes at run time.

use std::fs;

use super::{
    pki::{Ca, Folder, endpoint, leaf, listener, named, towards},
    *,
};
use crate::files::{Files, Reload};

#[tokio::test]
async fn a_rotated_ca_is_used_for_new_handshakes_and_drops_no_session() {
    let (old, new, folder) = (Ca::new("old CA"), Ca::new("new CA"), Folder::new());
    let server = folder.server(&old.sign(&leaf()));
    let client = towards("db.internal", &endpoint(TlsMode::VerifyFull, &folder.write("ca.pem", &old.pem())));
    let (mut one, mut other) = shaken(&client, &server).await;

    folder.write("ca.pem", &format!("{}{}", old.pem(), new.pem()));
    assert_eq!(client.reload().unwrap(), Reload::Swapped);
    folder.write_identity(&new.sign(&leaf()));
    assert_eq!(server.reload().unwrap(), Reload::Swapped);
    folder.write("ca.pem", &new.pem());
    shaken(&client, &server).await;
    assert_eq!(client.reload().unwrap(), Reload::Swapped);
    let (second, _) = shaken(&client, &server).await;
    assert_ne!(second.peer_certificate(), one.peer_certificate());
    assert!(!second.facts().unwrap().resumed, "trust has changed: everything is checked again");
    talk(&mut one, &mut other).await;
}

#[tokio::test]
async fn bad_new_files_keep_the_old_ones_and_say_what_is_wrong() {
    let (ca, folder) = (Ca::new("CA"), Folder::new());
    let identity = ca.sign(&leaf());
    let server = folder.server(&identity);
    let client = towards("db.internal", &endpoint(TlsMode::VerifyFull, &folder.write("ca.pem", &ca.pem())));
    let (half, _) = identity.0.split_at(identity.0.len() / 2);
    let another_key = ca.sign(&leaf()).1;
    for (name, text, expected) in [
        ("tls.crt", half, "is not PEM: a section has no end: is the file only half written?"),
        ("tls.crt", "", "holds no certificate"),
        ("tls.key", "", "holds no private key"),
        ("tls.key", identity.0.as_str(), "holds no private key"),
        ("tls.key", another_key.as_str(), "does not belong to the certificate"),
        ("tls.key", include_str!("../../../tests/data/tls/encrypted.key"), "is encrypted: store it without"),
    ] {
        folder.write(name, text);
        let error = server.reload().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        shaken(&client, &server).await;
        folder.write_identity(&identity);
        assert_eq!(server.reload().unwrap(), Reload::Unchanged);
    }
    fs::remove_file(folder.path("ca.pem")).unwrap();
    assert!(client.reload().unwrap_err().to_string().starts_with("reading `"));
    shaken(&client, &server).await;
}

#[tokio::test]
async fn one_watcher_reloads_all_and_reports_by_name() {
    let (ca, folder, files) = (Ca::new("CA"), Folder::new(), Files::new());
    let server = folder.server(&ca.sign(&leaf()));
    let client = towards("db.internal", &endpoint(TlsMode::VerifyFull, &folder.write("ca.pem", &ca.pem())));
    server.watch(&files);
    client.watch(&files);
    assert!(files.reload().is_empty(), "nothing has changed");
    let next = Ca::new("next CA");
    folder.write_identity(&next.sign(&leaf()));
    folder.write("ca.pem", "nonsense");
    let mut reports: Vec<_> = files
        .reload()
        .into_iter()
        .map(|reloaded| format!("{}: {}", reloaded.what, reloaded.result.is_ok()))
        .collect();
    reports.sort();
    assert_eq!(reports[1], "TLS towards db.internal:5432: false");
    assert!(
        reports[0].starts_with("TLS towards clients from ") && reports[0].ends_with(": true"),
        "{reports:?}"
    );
    folder.write("ca.pem", &next.pem());
    assert!(files.reload().iter().all(|reloaded| reloaded.result.is_ok()));
    shaken(&client, &server).await;
}

#[tokio::test]
async fn the_expiry_of_every_certificate_in_use_is_known() {
    let (ca, folder) = (Ca::new("CA"), Folder::new());
    let server = folder.server(&ca.sign(&named("db.internal", &["db.internal", "10.1.2.3"])));
    let client = towards("db.internal", &endpoint(TlsMode::VerifyFull, &folder.write("ca.pem", &ca.pem())));
    let uses = |client: &ClientTls| client.certificates().iter().map(|c| c.usage).collect::<Vec<_>>();
    assert_eq!(uses(&client), [CertificateUse::Ca]);
    shaken(&client, &server).await;
    assert_eq!(uses(&client), [CertificateUse::Ca, CertificateUse::Peer]);
    let shown = &server.certificates()[0];
    let seen = &client.certificates()[1];
    assert_eq!((&seen.names, seen.not_after), (&shown.names, shown.not_after));
    assert_eq!(seen.names, ["db.internal", "10.1.2.3"]);
    assert_eq!((seen.subject.as_str(), seen.issuer.as_str()), ("CN=db.internal", "CN=CA"));
    assert!(seen.not_before < seen.not_after);
}

#[test]
fn settings_that_cannot_work_are_refused_with_the_file_at_fault() {
    let (ca, folder) = (Ca::new("CA"), Folder::new());
    let identity = folder.write_identity(&ca.sign(&leaf()));
    let without_ca =
        ListenerTls { client_certificates: ClientCertificates::Required, ..listener(identity.clone()) };
    assert!(matches!(ServerTls::new(&without_ca), Err(TlsFileError::NoClientCa)));
    let missing = IdentityFiles { key: folder.path("missing.key"), ..identity };
    let error = ServerTls::new(&listener(missing)).err().unwrap();
    assert!(error.to_string().contains("missing.key"), "{error}");
}
