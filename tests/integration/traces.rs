//! Traces: spans received by a collector, and no effect on sessions without a collector.

use std::{sync::Arc, time::Duration};

use gatekeeper::testing::sandbox::{ALICE, DATABASE, SandboxOptions, Single};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::harness::{
    Gatekeeper, Stand, connect,
    pki::{Identity, Pki},
    stand::{admin, config, listener as stand_listener, token_login},
    until,
};

const PATIENCE: Duration = Duration::from_secs(30);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// One field of a protocol buffer: field number and value in bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (first, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(first & 0x7F) << shift;
            shift += 7;
            if first & 0x80 == 0 {
                return value;
            }
        }
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let content = match key & 7 {
            0 => varint(&mut bytes).to_le_bytes().to_vec(),
            kind => {
                let length = if kind == 1 { 8 } else { usize::try_from(varint(&mut bytes)).unwrap() };
                let (content, rest) = bytes.split_at(length);
                bytes = rest;
                content.to_vec()
            }
        };
        found.push((key >> 3, content));
    }
    found
}

/// The fields of that number.
fn all(bytes: &[u8], number: u64) -> Vec<Vec<u8>> {
    fields(bytes).into_iter().filter(|(field, _)| *field == number).map(|(_, content)| content).collect()
}

/// A received span.
#[derive(Debug, Clone)]
struct DecodedSpan {
    name: String,
    trace: String,
    span: String,
    parent: String,
    took: u64,
    failed: bool,
    attributes: String,
}

fn decode_span(span: &[u8]) -> DecodedSpan {
    let hex =
        |number| -> String { all(span, number).concat().iter().map(|byte| format!("{byte:02x}")).collect() };
    let moment = |number| u64::from_le_bytes(all(span, number).concat().try_into().unwrap());
    let pair = |pair: Vec<u8>| {
        let value = fields(&all(&pair, 2).concat()).remove(0);
        let value = match value {
            (1, text) => String::from_utf8(text).unwrap(),
            (_, number) => u64::from_le_bytes(number.try_into().unwrap()).to_string(),
        };
        format!("{}={value}\n", String::from_utf8(all(&pair, 1).concat()).unwrap())
    };
    DecodedSpan {
        name: String::from_utf8(all(span, 5).concat()).unwrap(),
        trace: hex(1),
        span: hex(2),
        parent: hex(4),
        took: moment(8).checked_sub(moment(7)).expect("it ends after it begins"),
        failed: !all(span, 15).is_empty(),
        attributes: all(span, 9).into_iter().map(pair).collect(),
    }
}

/// Receives one request, responds, and returns the spans.
async fn take(collector: &TcpListener) -> Vec<DecodedSpan> {
    let (stream, _) = collector.accept().await.unwrap();
    let (_, body) = answer(stream).await;
    let scope = all(&all(&body, 1).concat(), 2).concat();
    all(&scope, 2).iter().map(|span| decode_span(span)).collect()
}

/// Answers one request; returns its head in lower case, and its body.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> (String, Vec<u8>) {
    let mut received = Vec::new();
    let request = loop {
        stream.read_buf(&mut received).await.unwrap();
        let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(received[..end].to_vec()).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("post /v1/") && head.contains(" http/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf"), "{head}");
        let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
        if received.len() >= end + 4 + length.parse::<usize>().unwrap() {
            break (head, received.split_off(end + 4));
        }
    };
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    stream.shutdown().await.ok();
    request
}

async fn stand(collector: &str, ratio: &str, pool: &str) -> Stand {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let traces = format!("[traces]\nendpoint = \"{collector}\"\nratio = \"{ratio}\"\n");
    let listener = format!("auth = {{ method = \"trust\" }}\npool = {{ mode = \"{pool}\" }}");
    let config = config(&server, &token_login(&server), &listener, &traces);
    Stand::start(server, &config).await
}

#[tokio::test]
async fn a_statement_belongs_to_the_span_of_its_comment() {
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", collector.local_addr().unwrap());
    let stand = stand(&address, "0%", "transaction").await;
    let client = stand.connect(&format!("user={ALICE} dbname={DATABASE}")).await.unwrap();
    let comment = |flags: &str| format!("/*action='x',traceparent='00-{TRACE}-{PARENT}-{flags}'*/");
    client.simple_query("SELECT 'untraced'").await.unwrap();
    client.simple_query(&format!("SELECT 'unsampled' {}", comment("00"))).await.unwrap();
    client
        .simple_query(&format!("SELECT 'secret' FROM generate_series(1, 3) {}", comment("01")))
        .await
        .unwrap();
    client.simple_query(&format!("SELECT 1 / 0 {}", comment("01"))).await.unwrap_err();
    let mut spans = Vec::new();
    while spans.iter().filter(|span: &&DecodedSpan| span.name == "statement").count() < 2 {
        let more = tokio::time::timeout(PATIENCE, take(&collector)).await.unwrap();
        spans.extend(more);
    }
    let statements: Vec<_> = spans.iter().filter(|span| span.name == "statement").collect();
    for statement in &statements {
        assert_eq!((statement.trace.as_str(), statement.parent.as_str()), (TRACE, PARENT));
        for fact in [
            "db.system.name=postgresql\n",
            "db.namespace=app\n",
            "gatekeeper.endpoint=primary\n",
            "gatekeeper.backend_role=primary\n",
            "gatekeeper.route.reason=writer\n",
            "gatekeeper.statement=query\n",
        ] {
            assert!(statement.attributes.contains(fact), "no {fact} in {statement:#?}");
        }
        assert!(!statement.attributes.contains("secret") && statement.took > 0, "{statement:#?}");
    }
    assert!(statements[0].attributes.contains("db.response.returned_rows=3\n") && !statements[0].failed);
    assert!(statements[1].attributes.contains("db.response.status_code=22012\n") && statements[1].failed);
    assert!(statements[1].attributes.contains("error.type=22012\n"));
    // Each session waited for a backend, and the lease includes the wait.
    let lease = spans.iter().find(|span| span.name == "lease").unwrap();
    assert!(statements.iter().any(|it| it.span == lease.parent && lease.trace == TRACE), "{spans:#?}");
    assert!(spans.iter().all(|span| span.name != "connect"), "nothing without a parent is sampled");
}

#[tokio::test]
async fn the_variables_of_opentelemetry_lead_to_a_collector_with_tls() {
    let server = Single::start(SandboxOptions::default()).await.unwrap();
    let pki = Pki::new(server.folder(), "collectors");
    let Identity { cert, key } = pki.issue("127.0.0.1");
    let certificates = CertificateDer::pem_file_iter(cert).unwrap().collect::<Result<_, _>>().unwrap();
    let tls =
        rustls::ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates, PrivateKeyDer::from_pem_file(key).unwrap())
            .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", collector.local_addr().unwrap());
    let listener = "auth = { method = \"trust\" }\npool = { mode = \"transaction\" }";
    let text = config(&server, &token_login(&server), listener, "");
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", pki.ca_file.to_str().unwrap()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter%202"),
        ("OTEL_SERVICE_NAME", "pooler"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "200"),
    ];
    let gatekeeper = Gatekeeper::start_with(server.folder(), &text, admin(&server), &environment).await;
    let client = connect(stand_listener(&server), &format!("user={ALICE} dbname={DATABASE}")).await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
    let (mut spans, mut metrics) = (Vec::new(), Vec::new());
    while spans.is_empty() || metrics.is_empty() {
        let request = async {
            let (stream, _) = collector.accept().await.unwrap();
            answer(acceptor.accept(stream).await.unwrap()).await
        };
        let (head, body) = tokio::time::timeout(PATIENCE, request).await.unwrap();
        assert!(head.contains("api-key: hunter 2"), "{head}");
        let sent = all(&body, 1).concat();
        let resource = String::from_utf8_lossy(&all(&sent, 1).concat()).into_owned();
        for attribute in ["service.name", "pooler", "service.version", "deployment.environment.name", "test"]
        {
            assert!(resource.contains(attribute), "{attribute} in {resource}");
        }
        let content = all(&all(&sent, 2).concat(), 2);
        if head.starts_with("post /v1/traces ") {
            spans.extend(content.iter().map(|span| decode_span(span).name));
        } else {
            assert!(head.starts_with("post /v1/metrics "), "{head}");
            metrics.extend(content.iter().map(|it| String::from_utf8(all(it, 1).concat()).unwrap()));
        }
    }
    assert!(spans.iter().any(|name| name == "connect"), "{spans:?}");
    for name in ["gatekeeper_statements_total", "gatekeeper_statement_duration_seconds"] {
        assert!(metrics.iter().any(|metric| metric == name), "{name} in {metrics:?}");
    }
    assert!(!gatekeeper.stderr().contains("hunter"), "{}", gatekeeper.stderr());
}

#[tokio::test]
async fn root_spans_are_sampled_and_logins_are_spans() {
    let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", collector.local_addr().unwrap());
    let stand = stand(&address, "100%", "session").await;
    let client = stand.connect(&format!("user={ALICE} dbname={DATABASE}")).await.unwrap();
    client.simple_query("SELECT 1").await.unwrap();
    let mut spans = Vec::new();
    while spans.len() < 2 {
        spans.extend(tokio::time::timeout(PATIENCE, take(&collector)).await.unwrap());
    }
    let names: Vec<_> = spans.iter().map(|span| (span.name.as_str(), span.parent.as_str())).collect();
    assert_eq!(names, [("connect", ""), ("statement", "")]);
    assert!(spans[0].attributes.contains("gatekeeper.auth=trust\n"), "{spans:#?}");
    until(PATIENCE, async || {
        match stand.gatekeeper.metric("gatekeeper_trace_spans_total{outcome=\"ok\"}").await {
            Some(2.0) => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn a_missing_collector_fails_no_statement_and_losses_are_counted() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let stand = stand(&address, "100%", "transaction").await;
    let client = stand.connect(&format!("user={ALICE} dbname={DATABASE}")).await.unwrap();
    for _ in 0..100 {
        client.simple_query("SELECT 1").await.unwrap();
    }
    until(PATIENCE, async || {
        match stand.gatekeeper.metric("gatekeeper_trace_spans_total{outcome=\"error\"}").await {
            Some(lost) if lost >= 101.0 => Ok(()),
            other => Err(other),
        }
    })
    .await;
    client.simple_query("SELECT 1").await.unwrap();
}
