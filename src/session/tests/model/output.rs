//! Messages of a fake server: COPY, the end of a request, errors and results.

use super::{
    super::frame,
    catalog::Row,
    execute::Failure,
    language::Sql,
    server::{CopyIn, Event, Server},
    state::Block,
};

/// Bytes of a server's output buffer.
const OUTPUT_BYTES: usize = 8192;

impl Server {
    pub(super) fn begin_copy(&mut self, table: String, by_query: bool) {
        let statement = Sql::Copy(table.clone());
        self.events.push(Event::Before(statement, self.state.view()));
        self.copying = Some(CopyIn { table, rows: 0, by_query });
        self.write(b'G', b"\0\0\0");
        self.flush();
    }

    /// Handles a message in COPY mode.
    pub(super) fn copy_message(&mut self, tag: u8, body: &[u8]) {
        let interrupt = if matches!(tag, b'd' | b'c') { self.next_interrupt() } else { None };
        let Some(copy) = &mut self.copying else { return };
        let failure = match (tag, interrupt) {
            (_, Some(interrupt)) => interrupt,
            (b'H' | b'S', _) => return,
            (b'd', _) if body.starts_with(b"bad") => {
                Failure("22P02", "invalid input syntax for type integer: \"bad\"".into())
            }
            (b'd', _) => {
                copy.rows += i64::try_from(body.iter().filter(|byte| **byte == b'\n').count()).expect("few");
                return;
            }
            (b'c', _) => {
                let CopyIn { table, rows, by_query } = self.copying.take().expect("in COPY mode");
                *self.state.kept.rows.entry(table).or_default() += rows;
                self.write(b'C', format!("COPY {rows}\0").as_bytes());
                self.state.is_pipelined = true;
                if by_query {
                    self.ready();
                }
                return;
            }
            (b'f', _) => {
                let reason = String::from_utf8_lossy(body).trim_end_matches('\0').to_owned();
                Failure("57014", format!("COPY from stdin failed: {reason}"))
            }
            _ => Failure("08P01", format!("unexpected message type 0x{tag:02X} during COPY from stdin")),
        };
        let by_query = copy.by_query;
        self.copying = None;
        self.fail(&failure);
        if by_query {
            self.ready();
        } else {
            self.is_skipping = true;
        }
    }

    /// Ends a message that the server answers with ReadyForQuery.
    pub(super) fn ready(&mut self) {
        if self.state.block == Block::None {
            self.commit();
        }
        let name = self.state.value("application_name").unwrap_or_default().to_owned();
        if name != self.reported_name {
            self.write(b'S', format!("application_name\0{name}\0").as_bytes());
            self.reported_name = name;
        }
        let status = match self.state.block {
            Block::None => b'I',
            Block::Open => b'T',
            Block::Failed => b'E',
        };
        self.write(b'Z', &[status]);
        self.flush();
    }

    pub(super) fn commit(&mut self) {
        self.portals.clear();
        if self.state.is_started() {
            self.state.commit(&mut self.cluster.borrow_mut());
            self.events.push(Event::Ended { is_committed: true });
        }
    }

    /// Rolls back the open transaction, or the part of it behind the last savepoint.
    pub(super) fn abort(&mut self) {
        let level = self.state.level();
        if level > 0 {
            if self.state.block == Block::Open {
                self.state.restore_savepoint();
                self.portals.retain(|_, portal| portal.level < level);
                self.events.push(Event::RolledBackToSavepoint);
                self.state.block = Block::Failed;
            }
            return;
        }
        self.portals.clear();
        if self.state.is_started() {
            self.state.roll_back();
            self.events.push(Event::Ended { is_committed: false });
        }
        if self.state.block == Block::Open {
            self.state.block = Block::Failed;
        }
    }

    pub(super) fn fail(&mut self, failure: &Failure) {
        self.abort();
        self.report(b'E', "ERROR", failure.0, &failure.1);
        self.flush();
    }

    pub(super) fn report(&mut self, tag: u8, severity: &str, code: &str, message: &str) {
        self.write(tag, format!("S{severity}\0V{severity}\0C{code}\0M{message}\0\0").as_bytes());
    }

    pub(super) fn describe_row(&mut self) {
        let column = [&b"\0\x01a\0\0\0\0\0\0\0"[..], &25_u32.to_be_bytes(), b"\xff\xff\xff\xff\xff\xff\0\0"];
        self.write(b'T', &column.concat());
    }

    pub(super) fn write_row(&mut self, row: &Row) {
        let mut body = u16::try_from(row.len()).expect("few").to_be_bytes().to_vec();
        for value in row {
            let length = value.as_ref().map_or(-1, |value| i32::try_from(value.len()).expect("short"));
            body.extend(length.to_be_bytes());
            body.extend(value.iter().flatten());
        }
        self.write(b'D', &body);
    }

    pub(super) fn write(&mut self, tag: u8, body: &[u8]) {
        if !self.faults.note_message(tag) {
            return;
        }
        self.unsent.extend(frame(tag, body));
        if self.unsent.len() >= OUTPUT_BYTES {
            let full = self.unsent.len() - self.unsent.len() % OUTPUT_BYTES;
            self.sent.extend(self.unsent.drain(..full));
        }
    }

    pub(super) fn flush(&mut self) {
        self.sent.append(&mut self.unsent);
    }
}
