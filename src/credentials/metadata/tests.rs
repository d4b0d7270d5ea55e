//! Tests the requests to the metadata server, and the effect of environment variables.

use super::*;
use crate::credentials::exchange::LOGIN_SCOPE;

fn server(variables: &[(&str, &str)]) -> MetadataServer {
    MetadataServer::new(&GoogleEnvironment::with(variables))
}

fn written(request: Result<HttpRequest, GoogleError>) -> (String, Vec<(String, String)>) {
    let request = request.unwrap();
    let headers = request.headers.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned()));
    (request.url.to_text(), headers.collect())
}

#[test]
fn requests_are_those_of_the_documentation() {
    let server = server(&[]);
    let flavor = vec![("metadata-flavor".to_owned(), "Google".to_owned())];
    let base = "http://metadata.google.internal/computeMetadata/v1";
    for (request, path) in [
        (
            server.request_token(LOGIN_SCOPE),
            "instance/service-accounts/default/token?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Falloydb.login",
        ),
        (server.request_email(), "instance/service-accounts/default/email"),
        (server.request_universe(), "universe/universe-domain"),
    ] {
        assert_eq!(written(request), (format!("{base}/{path}"), flavor.clone()));
    }
}

#[test]
fn the_environment_names_host_and_patience() {
    let url = |variables: &[(&str, &str)]| written(server(variables).request_email()).0;
    let path = "/computeMetadata/v1/instance/service-accounts/default/email";
    let host = ("GCE_METADATA_HOST", "127.0.0.1:81");
    let (root, ip) = (("GCE_METADATA_ROOT", "root.example"), ("GCE_METADATA_IP", "169.254.169.253"));
    assert_eq!(url(&[ip]), format!("http://169.254.169.253{path}"));
    assert_eq!(url(&[root, ip]), format!("http://root.example{path}"));
    assert_eq!(url(&[host, root, ip]), format!("http://127.0.0.1:81{path}"));
    let patient = server(&[("GCE_METADATA_TIMEOUT", "1.5"), ("GCE_METADATA_DETECT_RETRIES", "7")]);
    assert_eq!((patient.limit(), patient.detect_attempts), (Duration::from_millis(1500), 7));
    let default = server(&[("GCE_METADATA_TIMEOUT", "-1"), ("GCE_METADATA_DETECT_RETRIES", "many")]);
    assert_eq!((default.limit(), default.detect_attempts), (Duration::from_secs(3), 3));
    assert!(server(&[("GCE_METADATA_HOST", "no host")]).request_email().is_err());
}
