//! Large results and slow readers: Gatekeeper's memory stays small, and other clients do not wait.

use std::{fs, io, time::Duration};

use gatekeeper::testing::{
    sandbox::{APP, DATABASE},
    wire::tag::backend as b,
};
use tokio::io::AsyncReadExt as _;

use crate::harness::{
    Frames, Gatekeeper, Stand,
    frames::{copy_data, query, statement, sync},
    until,
};

const LIMIT: Duration = Duration::from_secs(30);
/// Allowed growth of the idle program's memory in KiB. Buffers of a few sessions are far below, a collected result is
/// far above.
const ALLOWANCE: u64 = 24 * 1024;

async fn app(stand: &Stand) -> Frames {
    Frames::log_in(stand.listener, APP, &[("database", DATABASE)]).await
}

/// The most memory the program has had, in KiB.
fn peak(gatekeeper: &Gatekeeper) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gatekeeper.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Reads bytes up to the end of the response, without keeping them.
async fn count_bytes(client: &mut Frames) -> usize {
    let (mut chunk, mut total) = (vec![0; 256 * 1024], 0);
    let ready = b"Z\0\0\0\x05I";
    loop {
        let read = client.raw.stream.read(&mut chunk).await.unwrap();
        assert!(read > 0, "the answer ends with ReadyForQuery");
        total += read;
        if chunk[..read].ends_with(ready) {
            return total;
        }
    }
}

/// Writes `bytes` repeatedly until the peer stops reading for a while; returns the number of bytes written.
async fn fill(client: &Frames, bytes: &[u8]) -> usize {
    let (mut total, mut at, mut refused) = (0, 0, 0);
    // Half a second without a byte.
    while refused < 50 {
        match client.raw.stream.try_write(&bytes[at..]) {
            Ok(count) => {
                (total, at, refused) = (total + count, (at + count) % bytes.len(), 0);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("after {total} bytes: {error}"),
        }
    }
    total
}

#[tokio::test]
async fn a_gigabyte_streams_through_a_few_buffers() {
    let stand = Stand::passthrough().await;
    let mut client = app(&stand).await;
    let before = peak(&stand.gatekeeper);
    client.send(&query("COPY (SELECT repeat('x', 1000000) FROM generate_series(1, 1000)) TO STDOUT")).await;
    let bytes = count_bytes(&mut client).await;
    assert!(bytes > 1_000_000_000, "{bytes}");
    let after = peak(&stand.gatekeeper);
    assert!(after < before + ALLOWANCE, "{before} KiB before, {after} KiB at most");
}

#[tokio::test]
async fn values_of_fifty_megabytes_pass_in_both_directions() {
    let stand = Stand::passthrough().await;
    let mut client = app(&stand).await;
    let before = peak(&stand.gatekeeper);
    let value = vec![b'y'; 50_000_000];
    client.send(&[statement("SELECT md5($1), $1", &[&value]), sync()].concat()).await;
    let received = client.read_until(b::READY_FOR_QUERY).await;
    let row = received.iter().find(|message| message.tag == b::DATA_ROW).unwrap();
    assert!(row.body.ends_with(&value));
    let after = peak(&stand.gatekeeper);
    assert!(after < before + ALLOWANCE, "{before} KiB before, {after} KiB at most");
}

#[tokio::test]
async fn a_slow_reader_blocks_only_its_own_backend() {
    let stand = Stand::passthrough().await;
    let mut slow = app(&stand).await;
    let before = peak(&stand.gatekeeper);
    slow.send(&query("SELECT repeat('x', 1000) FROM generate_series(1, 200000)")).await;
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND wait_event = 'ClientWrite'";
    until(LIMIT, async || match stand.server.node().sql(DATABASE, waiting).await.unwrap() {
        seen if seen == "1" => Ok(()),
        seen => Err(seen),
    })
    .await;
    for round in 0..20 {
        let mut other = app(&stand).await;
        let bytes = {
            other.send(&query("SELECT repeat('y', 1000) FROM generate_series(1, 1000)")).await;
            count_bytes(&mut other).await
        };
        assert!(bytes > 1_000_000, "round {round}: {bytes}");
    }
    let bytes = count_bytes(&mut slow).await;
    assert!(bytes > 200_000_000, "nothing of it is lost: {bytes}");
    let after = peak(&stand.gatekeeper);
    assert!(after < before + ALLOWANCE, "{before} KiB before, {after} KiB at most");
}

#[tokio::test]
async fn a_server_that_stops_reading_stops_its_client() {
    let stand = Stand::passthrough().await;
    stand.server.node().sql(DATABASE, "CREATE TABLE t (a text); GRANT ALL ON t TO app").await.unwrap();
    let mut client = app(&stand).await;
    client.send(&query("COPY t FROM STDIN")).await;
    client.read_until(b::COPY_IN_RESPONSE).await;
    let before = peak(&stand.gatekeeper);
    stand.server.node().freeze();
    let taken = fill(&client, &copy_data(&[&[b'x'; 8000][..], b"\n"].concat())).await;
    let after = peak(&stand.gatekeeper);
    stand.server.node().thaw();
    assert!(taken < 100_000_000, "the kernel's buffers take so much at most: {taken}");
    assert!(after < before + ALLOWANCE, "{before} KiB before, {after} KiB at most");
}

#[tokio::test]
async fn requests_of_a_client_that_never_reads_fill_no_memory() {
    let stand = Stand::passthrough().await;
    let client = app(&stand).await;
    let before = peak(&stand.gatekeeper);
    stand.server.node().freeze();
    let taken = fill(&client, &sync().repeat(4000)).await;
    let after = peak(&stand.gatekeeper);
    stand.server.node().thaw();
    assert!(after < before + ALLOWANCE, "{before} KiB before, {after} KiB at most, {taken} bytes taken");
}
