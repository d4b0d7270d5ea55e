//! The beginning of a transaction that the client has been answered, and no server has heard of.

use crate::sql::Modes;

/// `BEGIN` in all its forms, and `SET TRANSACTION` right behind it, held back until the first statement decides where the
/// transaction goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::session) struct Begun {
    /// The commands as the client said them, each with a NUL behind it.
    script: Vec<u8>,
    modes: Modes,
}

/// How a READ ONLY transaction on a read pool has begun, as long as the writer would be where the read pool is by that alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::session) struct Opening {
    /// What it has begun with.
    pub(in crate::session) begun: Begun,
    /// Something was read in it since: its modes cannot change any more.
    pub(in crate::session) has_read: bool,
    /// A portal was bound, and not executed to its end.
    pub(in crate::session) has_portal: bool,
}

/// No beginning of a transaction is longer, unless by comments.
const LONGEST: usize = 512;

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
        self.modes = Modes::default();
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
}
