//! The beginning of a transaction that the client has been answered, and no server has heard of.

use crate::sql::Modes;

/// `BEGIN` in all its forms, and `SET TRANSACTION` right behind it, held back until the first statement decides where the
/// transaction goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::session) struct Begun {
    /// The commands as the client said them, each with a NUL behind it.
    script: Vec<u8>,
    modes: Modes,
    /// Other commands stand behind those that set modes: the server alone tells what modes may follow.
    is_under_way: bool,
}

/// How a READ ONLY transaction on a read pool has begun, and what it has done since that can be done again elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::session) struct Opening {
    /// What it has begun with; a transaction that it chains begins so, too.
    begun: Begun,
    /// Its savepoints and local settings since; `None` once it has more than commands make: a cursor, a portal with a name, a
    /// snapshot that lasts.
    since: Option<Begun>,
    /// The last of `since`, as long as it is not answered.
    last: Unanswered,
    /// Something was read in it since: its modes cannot change any more.
    pub(in crate::session) has_read: bool,
    /// The portal without a name.
    pub(in crate::session) portal: PortalUse,
}

/// A command that the server may yet refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unanswered {
    /// There is none.
    Nothing,
    /// There is one, behind so many bytes, and nothing was sent behind it.
    Last(usize),
    /// There are others, or something was sent behind it.
    Followed,
}

/// What became of a portal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum PortalUse {
    /// There is none, or it was executed to its end.
    Over,
    /// It was bound.
    Bound,
    /// Some of it was executed.
    Begun,
}

/// No beginning of a transaction is longer, unless by comments.
const LONGEST: usize = 512;

// === impl Opening ===

impl Opening {
    /// Nothing was done in it yet.
    pub(in crate::session) fn new(begun: Begun) -> Self {
        let since = Some(Begun::default());
        Self { begun, since, last: Unanswered::Nothing, has_read: false, portal: PortalUse::Over }
    }

    /// What brings another server to where this one is, unless that takes more than commands.
    pub(in crate::session) fn commands(&self) -> Option<Begun> {
        let since = self.since.as_ref().filter(|_| self.last == Unanswered::Nothing)?;
        let mut all = Begun { is_under_way: !since.script.is_empty(), ..self.begun.clone() };
        since.commands().all(|command| all.say(command, Modes::default())).then_some(all)
    }

    /// The client sets modes of the transaction; `None` if they cannot be followed.
    pub(in crate::session) fn set(mut self, command: &[u8], modes: Modes) -> Option<Self> {
        let is_first = self.since.as_ref().is_some_and(|since| since.script.is_empty());
        (is_first && self.begun.say(command, modes)).then_some(self)
    }

    /// The client makes a savepoint, goes back to one, or sets what lasts as long as the transaction.
    pub(in crate::session) fn does(mut self, command: &[u8]) -> Self {
        let before = self.since.as_ref().map_or(0, |since| since.script.len());
        self.since.take_if(|since| !since.say(command, Modes::default()));
        self.last = match self.last {
            Unanswered::Nothing => Unanswered::Last(before),
            Unanswered::Last(_) | Unanswered::Followed => Unanswered::Followed,
        };
        self
    }

    /// The client goes on before it knows the answer to what it has said last.
    pub(in crate::session) fn goes_on(mut self) -> Self {
        if self.last != Unanswered::Nothing {
            self.last = Unanswered::Followed;
        }
        self
    }

    /// The client reads.
    pub(in crate::session) fn reads(self) -> Self {
        Self { has_read: true, ..self }
    }

    /// The transaction has what no command makes again elsewhere.
    pub(in crate::session) fn stays(self) -> Self {
        Self { since: None, ..self }
    }

    /// `AND CHAIN`: the next transaction begins in the modes of this one.
    pub(in crate::session) fn chains(self) -> Self {
        Self::new(self.begun)
    }

    /// The server has answered all that it was sent; whether the transaction has `failed`.
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

    /// True if one snapshot serves all of it.
    pub(in crate::session) fn keeps_snapshot(&self) -> bool {
        self.begun.keeps_snapshot()
    }
}

// === impl Begun ===

impl Begun {
    /// The client has said one more; whether there is room for it.
    pub(in crate::session) fn say(&mut self, command: &[u8], modes: Modes) -> bool {
        if self.script.len() + command.len() >= LONGEST {
            return false;
        }
        self.script.extend_from_slice(command);
        self.script.push(0);
        self.modes = modes.over(self.modes);
        true
    }

    /// True if the transaction has done nothing yet that is said with its beginning.
    pub(in crate::session) const fn takes_modes(&self) -> bool {
        !self.is_under_way
    }

    /// The modes that were named so far.
    pub(in crate::session) const fn modes(&self) -> Modes {
        self.modes
    }

    /// The commands in the order they were said.
    pub(in crate::session) fn commands(&self) -> impl Iterator<Item = &[u8]> {
        self.script.split_inclusive(|octet| *octet == 0).map(|command| &command[..command.len() - 1])
    }

    /// Whether one snapshot serves all of it, so that what was read in it belongs to its server.
    pub(in crate::session) fn keeps_snapshot(&self) -> bool {
        const LEVEL: &[u8] = b"repeatable";
        self.script.windows(LEVEL.len()).any(|word| word.eq_ignore_ascii_case(LEVEL))
    }

    /// The transaction is over, or a server has heard of it.
    pub(in crate::session) fn clear(&mut self) {
        self.script.clear();
        (self.modes, self.is_under_way) = (Modes::default(), false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_back_as_they_were_said_and_later_modes_win() {
        let mut begun = Begun::default();
        let read = |read_only| Modes { read_only, ..Modes::default() };
        assert!(begun.say(b"BEGIN READ WRITE", read(Some(false))));
        assert!(begun.say(b"SET TRANSACTION READ ONLY", read(Some(true))));
        assert!(begun.say(b"SET TRANSACTION DEFERRABLE", read(None)));
        let commands: Vec<_> = begun.commands().collect();
        let expected: [&[u8]; 3] =
            [b"BEGIN READ WRITE", b"SET TRANSACTION READ ONLY", b"SET TRANSACTION DEFERRABLE"];
        assert_eq!(commands, expected);
        assert_eq!(begun.modes().read_only, Some(true));
        assert!(!begun.say(&[b'x'; LONGEST], read(None)), "no server's memory of ours");
        begun.clear();
        assert_eq!(begun.commands().count(), 0);
    }

    fn opening() -> Opening {
        let mut begun = Begun::default();
        assert!(begun.say(b"BEGIN READ ONLY", Modes { read_only: Some(true), serializable: None }));
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
