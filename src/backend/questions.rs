//! Queries of a server's state, and decoding of the response.

use std::net::IpAddr;

use crate::{
    topology::{NodeId, ObservedRole, ProbeAnswer, StandbyWal, parse_lsn},
    wire::{DecodeError, Reader},
};

/// Columns of [`Questions::All`] and [`Questions::Node`] that identify the node, defined once so that both agree.
macro_rules! node {
    () => {
        "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8, host(inet_server_addr()), inet_server_port()"
    };
}

/// Columns of [`Questions::All`] and [`Questions::Replay`]: role, read-only state, WAL position, timeline.
macro_rules! state {
    () => {
        "pg_is_in_recovery(), current_setting('transaction_read_only'), \
         CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END, \
         CASE WHEN pg_is_in_recovery() THEN NULL \
         ELSE substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END"
    };
}

/// Columns of [`Questions::Replay`] about a standby's replay.
macro_rules! replay {
    () => {
        "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() END, \
         CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END"
    };
}

/// Scope of a query. In PostgreSQL every user may run all; managed services may lack functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Questions {
    /// As [`Self::All`], and of a standby the received WAL position and the pause of replay.
    Replay,
    /// Role, read-only state, WAL position, timeline, node.
    All,
    /// Role and read-only state.
    Role,
    /// Role, read-only state and node.
    Node,
}

// === impl Questions ===

impl Questions {
    /// The next smaller scope for the probe, for a server that refuses a function.
    pub(crate) const fn fewer(self) -> Option<Self> {
        match self {
            Self::Replay => Some(Self::All),
            Self::All => Some(Self::Role),
            Self::Role | Self::Node => None,
        }
    }

    /// The query: a single row, a single round trip.
    ///
    /// CASE guards functions that fail on the wrong side of a promotion. The timeline is queried on a primary only: on
    /// a standby the timeline requires privileges.
    pub(super) const fn sql(self) -> &'static str {
        match self {
            Self::Replay => concat!("SELECT ", state!(), ", ", node!(), ", ", replay!()),
            Self::All => concat!("SELECT ", state!(), ", ", node!()),
            Self::Role => "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')",
            Self::Node => {
                concat!("SELECT pg_is_in_recovery(), current_setting('transaction_read_only'), ", node!())
            }
        }
    }

    /// Decodes the DataRow of the response.
    ///
    /// # Errors
    /// [`DecodeError`] for a row of another query.
    pub(super) fn read(self, row: &[u8]) -> Result<ProbeAnswer, DecodeError> {
        let mut columns = Columns::of(row)?;
        let role = match columns.next()? {
            Some("t") => ObservedRole::Standby,
            Some("f") => ObservedRole::Primary,
            _ => return Err(DecodeError::Invalid("answer to pg_is_in_recovery()")),
        };
        let read_only = columns.next()? == Some("on");
        let mut answer =
            ProbeAnswer { role, read_only, lsn: None, timeline: None, node: None, standby: None };
        if matches!(self, Self::All | Self::Replay) {
            answer.lsn = columns.next()?.and_then(parse_lsn);
            answer.timeline = columns.next()?.and_then(|hex| u32::from_str_radix(hex, 16).ok());
        }
        if self != Self::Role {
            let started = columns.next()?.and_then(|micros| micros.parse().ok());
            let address = columns.next()?.and_then(|text| text.parse::<IpAddr>().ok());
            let port = columns.next()?.and_then(|text| text.parse().ok());
            answer.node = started.map(|started_us| NodeId { started_us, address, port });
        }
        if self == Self::Replay {
            let received = columns.next()?.and_then(parse_lsn);
            let paused = columns.next()?;
            answer.standby = paused.map(|paused| StandbyWal { received, is_paused: paused == "t" });
        }
        Ok(answer)
    }
}

/// The columns of a DataRow in text format.
pub(crate) struct Columns<'a> {
    reader: Reader<'a>,
    left: i16,
}

// === impl Columns ===

impl<'a> Columns<'a> {
    /// Columns of `row`.
    pub(crate) fn of(row: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(row);
        let left = reader.i16()?;
        Ok(Self { reader, left })
    }

    /// The next column; `None` is NULL.
    pub(crate) fn next(&mut self) -> Result<Option<&'a str>, DecodeError> {
        if self.left <= 0 {
            return Err(DecodeError::Short);
        }
        self.left -= 1;
        match usize::try_from(self.reader.i32()?) {
            Err(_negative) => Ok(None),
            Ok(bytes) => std::str::from_utf8(self.reader.bytes(bytes)?)
                .map(Some)
                .map_err(|_| DecodeError::Invalid("text")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(columns: &[Option<&str>]) -> Vec<u8> {
        let mut row = i16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
        for column in columns {
            match column {
                None => row.extend((-1_i32).to_be_bytes()),
                Some(text) => {
                    row.extend(i32::try_from(text.len()).unwrap().to_be_bytes());
                    row.extend(text.as_bytes());
                }
            }
        }
        row
    }

    #[test]
    fn a_primary_and_a_standby_are_read_in_full() {
        let primary = row(&[
            Some("f"),
            Some("off"),
            Some("16/B374D848"),
            Some("00000002"),
            Some("1700000000123456"),
            Some("10.0.0.1"),
            Some("5432"),
        ]);
        let answer = Questions::All.read(&primary).unwrap();
        assert_eq!(
            answer,
            ProbeAnswer {
                role: ObservedRole::Primary,
                read_only: false,
                lsn: Some(0x16_B374_D848),
                timeline: Some(2),
                node: Some(NodeId {
                    started_us: 1_700_000_000_123_456,
                    address: Some("10.0.0.1".parse().unwrap()),
                    port: Some(5432),
                }),
                standby: None,
            }
        );
        let standby = row(&[Some("t"), Some("on"), None, None, Some("7"), None, None]);
        let answer = Questions::All.read(&standby).unwrap();
        assert_eq!((answer.role, answer.read_only, answer.lsn), (ObservedRole::Standby, true, None));
        assert_eq!(answer.node, Some(NodeId { started_us: 7, address: None, port: None }));
    }

    #[test]
    fn a_standby_tells_received_wal_and_pause() {
        let columns = |received, paused| {
            let state = [Some("t"), Some("on"), Some("0/10"), None, Some("7"), None, None];
            row(&[&state[..], &[received, paused]].concat())
        };
        let wal = |received, paused| Questions::Replay.read(&columns(received, paused)).unwrap().standby;
        let paused = StandbyWal { received: Some(0x20), is_paused: true };
        assert_eq!(wal(Some("0/20"), Some("t")), Some(paused));
        assert_eq!(wal(None, Some("f")), Some(StandbyWal { received: None, is_paused: false }));
        assert_eq!(wal(None, None), None, "a primary");
    }

    #[test]
    fn a_login_learns_the_same_node_as_the_probe() {
        let answer = row(&[Some("t"), Some("on"), Some("1700000000123456"), Some("10.0.0.1"), Some("5432")]);
        let node = Questions::Node.read(&answer).unwrap().node;
        let looked = row(&[
            Some("t"),
            Some("on"),
            None,
            None,
            Some("1700000000123456"),
            Some("10.0.0.1"),
            Some("5432"),
        ]);
        assert_eq!(node, Questions::All.read(&looked).unwrap().node);
        assert!(node.is_some());
        let silent = row(&[Some("t"), Some("on"), None, None, None]);
        assert_eq!(Questions::Node.read(&silent).unwrap().node, None);
    }

    #[test]
    fn a_row_that_was_not_asked_for_is_an_error() {
        for broken in [vec![], row(&[]), row(&[None, Some("on")]), row(&[Some("t")])] {
            assert!(Questions::Role.read(&broken).is_err(), "{broken:?}");
        }
        let mut cut = row(&[Some("t"), Some("on")]);
        cut.pop();
        assert!(Questions::Role.read(&cut).is_err());
    }
}
