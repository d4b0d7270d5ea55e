//! The beginning of a transaction that the client has been answered, and no server has heard of.

use crate::sql::TransactionModes;

/// `BEGIN` in all its forms, and `SET TRANSACTION` right behind it, held back until the first statement decides where the
/// transaction goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::session) struct BeginScript {
    /// The commands as the client said them, each with a NUL behind it.
    script: Vec<u8>,
    modes: TransactionModes,
    /// Further commands follow the mode commands: only the server can tell the modes allowed next.
    is_under_way: bool,
}

/// Beginning of a READ ONLY transaction on a read pool, with later commands repeatable elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::session) struct Opening {
    /// Commands at the beginning; a chained transaction begins in the same way.
    begun: BeginScript,
    /// Later savepoints and local settings. `None` once commands cannot recreate the transaction: after a cursor, a
    /// named portal, or a lasting snapshot.
    since: Option<BeginScript>,
    /// Last command of `since`, until answered.
    last: Unanswered,
    /// The transaction has read since: the modes cannot change any more.
    has_read: bool,
    /// State of the unnamed portal.
    portal: PortalUse,
}

/// Command without a response: the server may yet reject the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unanswered {
    /// No pending command.
    Nothing,
    /// A single command, after the given number of script bytes, with nothing sent later.
    Last(usize),
    /// Several commands, or messages sent later.
    Followed,
}

/// State of a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum PortalUse {
    /// No portal, or executed to the end.
    Over,
    /// Bound.
    Bound,
    /// Partly executed.
    Begun,
}

/// No beginning of a transaction is longer, unless by comments.
const LONGEST: usize = 512;

// === impl Opening ===

impl Opening {
    /// Creates an opening without later commands.
    pub(in crate::session) fn new(begun: BeginScript) -> Self {
        let since = Some(BeginScript::default());
        Self { begun, since, last: Unanswered::Nothing, has_read: false, portal: PortalUse::Over }
    }

    /// Commands to recreate the transaction on another server; `None` if commands do not suffice.
    pub(in crate::session) fn commands(&self) -> Option<BeginScript> {
        let since = self.since.as_ref().filter(|_| self.last == Unanswered::Nothing)?;
        let mut all = BeginScript { is_under_way: !since.script.is_empty(), ..self.begun.clone() };
        since.commands().all(|command| all.say(command, TransactionModes::default())).then_some(all)
    }

    /// Notes transaction modes set by the client; `None` if the modes cannot be followed. After a read the server refuses
    /// the modes.
    pub(in crate::session) fn set_modes(mut self, command: &[u8], modes: TransactionModes) -> Option<Self> {
        if self.has_read {
            return Some(self.stays());
        }
        let is_first = self.since.as_ref().is_some_and(|since| since.script.is_empty());
        (is_first && self.begun.say(command, modes)).then_some(self)
    }

    /// Notes a savepoint, a rollback to a savepoint, or a setting local to the transaction.
    pub(in crate::session) fn does(mut self, command: &[u8]) -> Self {
        let before = self.since.as_ref().map_or(0, |since| since.script.len());
        self.since.take_if(|since| !since.say(command, TransactionModes::default()));
        self.last = match self.last {
            Unanswered::Nothing => Unanswered::Last(before),
            Unanswered::Last(_) | Unanswered::Followed => Unanswered::Followed,
        };
        self
    }

    /// Notes a client message sent before the last response.
    pub(in crate::session) fn goes_on(mut self) -> Self {
        if self.last != Unanswered::Nothing {
            self.last = Unanswered::Followed;
        }
        self
    }

    /// True if the transaction has read since.
    pub(in crate::session) const fn has_read(&self) -> bool {
        self.has_read
    }

    /// State of the unnamed portal.
    pub(in crate::session) const fn portal(&self) -> PortalUse {
        self.portal
    }

    /// Notes the state of the unnamed portal.
    pub(in crate::session) fn with_portal(self, portal: PortalUse) -> Self {
        Self { portal, ..self }
    }

    /// Notes an Execute, of all rows or some.
    pub(in crate::session) fn note_execute(&mut self, is_whole: bool) {
        self.portal = match self.portal {
            PortalUse::Bound | PortalUse::Begun if !is_whole => PortalUse::Begun,
            _ => PortalUse::Over,
        };
    }

    /// Notes a read.
    pub(in crate::session) fn reads(self) -> Self {
        Self { has_read: true, ..self }
    }

    /// Marks the transaction as impossible to recreate elsewhere by commands.
    pub(in crate::session) fn stays(self) -> Self {
        Self { since: None, ..self }
    }

    /// `AND CHAIN`: the next transaction begins in the same modes.
    pub(in crate::session) fn chains(self) -> Self {
        Self::new(self.begun)
    }

    /// Settles all pending commands after the server's last response; `failed` means a failed transaction.
    pub(in crate::session) fn settle(&mut self, failed: bool) {
        let last = std::mem::replace(&mut self.last, Unanswered::Nothing);
        if failed && let Some(since) = &mut self.since {
            match last {
                Unanswered::Nothing => {}
                Unanswered::Last(before) => since.script.truncate(before),
                Unanswered::Followed => self.since = None,
            }
        }
    }

    /// True if a single snapshot serves the whole transaction.
    pub(in crate::session) fn keeps_snapshot(&self) -> bool {
        self.begun.keeps_snapshot()
    }
}

// === impl BeginScript ===

impl BeginScript {
    /// `BEGIN` without modes.
    pub(in crate::session) fn plain() -> Self {
        Self { script: b"BEGIN\0".to_vec(), ..Self::default() }
    }

    /// The client has said one more; whether there is room for it.
    pub(in crate::session) fn say(&mut self, command: &[u8], modes: TransactionModes) -> bool {
        if self.script.len() + command.len() >= LONGEST {
            return false;
        }
        self.script.extend_from_slice(command);
        self.script.push(0);
        self.modes = modes.over(self.modes);
        true
    }

    /// True if the beginning contains no commands besides modes.
    pub(in crate::session) const fn takes_modes(&self) -> bool {
        !self.is_under_way
    }

    /// The modes that were named so far.
    pub(in crate::session) const fn modes(&self) -> TransactionModes {
        self.modes
    }

    /// The commands in the order they were said.
    pub(in crate::session) fn commands(&self) -> impl Iterator<Item = &[u8]> {
        self.script.split_inclusive(|byte| *byte == 0).map(|command| &command[..command.len() - 1])
    }

    /// True if a single snapshot serves the whole transaction, so all reads belong to the snapshot's server.
    pub(in crate::session) fn keeps_snapshot(&self) -> bool {
        const LEVEL: &[u8] = b"repeatable";
        self.script.windows(LEVEL.len()).any(|word| word.eq_ignore_ascii_case(LEVEL))
    }

    /// The transaction is over, or a server has heard of it.
    pub(in crate::session) fn clear(&mut self) {
        self.script.clear();
        (self.modes, self.is_under_way) = (TransactionModes::default(), false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_back_as_they_were_said_and_read_write_stays() {
        let mut begun = BeginScript::default();
        let read = |read_only| TransactionModes { read_only, ..TransactionModes::default() };
        assert!(begun.say(b"BEGIN READ WRITE", read(Some(false))));
        assert!(begun.say(b"SET TRANSACTION READ ONLY", read(Some(true))));
        assert!(begun.say(b"SET TRANSACTION DEFERRABLE", read(None)));
        let commands: Vec<_> = begun.commands().collect();
        let expected: [&[u8]; 3] =
            [b"BEGIN READ WRITE", b"SET TRANSACTION READ ONLY", b"SET TRANSACTION DEFERRABLE"];
        assert_eq!(commands, expected);
        assert_eq!(begun.modes().read_only, Some(false), "a standby refuses the first command");
        assert!(!begun.say(&[b'x'; LONGEST], read(None)), "no server's memory of ours");
        begun.clear();
        assert_eq!(begun.commands().count(), 0);
    }

    fn opening() -> Opening {
        let mut begun = BeginScript::default();
        assert!(
            begun.say(b"BEGIN READ ONLY", TransactionModes { read_only: Some(true), serializable: None })
        );
        Opening::new(begun)
    }

    fn commands(opening: &Opening) -> Option<Vec<String>> {
        let commands = opening.commands()?;
        Some(commands.commands().map(|command| String::from_utf8_lossy(command).into_owned()).collect())
    }

    #[test]
    fn savepoints_are_made_again_in_their_order() {
        let mut opening = opening();
        for command in [&b"SAVEPOINT a"[..], b"SET LOCAL work_mem = '1MB'", b"ROLLBACK TO a"] {
            opening = opening.does(command);
            assert_eq!(commands(&opening), None, "its answer is not known");
            opening.settle(false);
            opening = opening.reads();
        }
        let expected = ["BEGIN READ ONLY", "SAVEPOINT a", "SET LOCAL work_mem = '1MB'", "ROLLBACK TO a"];
        assert_eq!(commands(&opening).unwrap(), expected);
        assert_eq!(commands(&opening.chains()).unwrap(), ["BEGIN READ ONLY"]);
    }

    #[test]
    fn what_may_have_failed_is_not_done_again() {
        let mut failed = opening().does(b"SAVEPOINT a");
        failed.settle(false);
        failed = failed.does(b"ROLLBACK TO nowhere");
        failed.settle(true);
        assert_eq!(commands(&failed).unwrap(), ["BEGIN READ ONLY", "SAVEPOINT a"]);
        for mut followed in [
            opening().does(b"SAVEPOINT a").does(b"SAVEPOINT b"),
            opening().does(b"SAVEPOINT a").goes_on().reads(),
        ] {
            let mut done = followed.clone();
            done.settle(false);
            assert!(commands(&done).is_some());
            followed.settle(true);
            assert_eq!(commands(&followed), None, "nobody knows which of them failed");
        }
        let long = opening().does(&[b' '; LONGEST]);
        assert_eq!(commands(&long), None);
        assert_eq!(commands(&opening().stays().chains()).unwrap(), ["BEGIN READ ONLY"]);
    }
}
