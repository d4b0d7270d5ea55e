//! Closed sets: enums whose values have a word each, for labels, logs and records.
//!
//! [`closed_set!`] defines such an enum as a table. A row holds a variant, its word, and its value in every column of
//! the table; a row without one does not compile. The macro generates `ALL`, `as_str`, `index`, and a method for each
//! column. Promises: values, words and indices are constants in the order of the table. Refuses to know: the use of a
//! word.

/// A value of a closed set, the only kind of label value besides configured names.
pub trait LabelValue: Copy + 'static {
    /// Every value, in the order of the table.
    const ALL: &'static [Self];

    /// The word of the value.
    fn as_str(self) -> &'static str;

    /// The position of the value in [`LabelValue::ALL`].
    fn index(self) -> usize;
}

/// Defines an enum as a table of words.
///
/// ```ignore
/// closed_set! {
///     /// Weight of a letter.
///     pub enum Weight(
///         /// Postage in cents.
///         postage: u32,
///     ) {
///         /// At most 20 g.
///         Light = "light" { postage: 95 },
///         /// More than 20 g.
///         Heavy = "heavy" { postage: 180 },
///     }
/// }
/// ```
///
/// A set can include others: `includes { Wrapper(OtherSet) = word { postage: cents }, }` behind the table adds a variant
/// `Wrapper(OtherSet)`, whose word and columns are those constant functions of the included value.
macro_rules! closed_set {
    (
        $(#[$doc:meta])*
        $vis:vis enum $name:ident $(( $($(#[$column_doc:meta])* $column:ident: $type:ty),+ $(,)? ))? {
            $($(#[$row_doc:meta])* $variant:ident = $word:literal $({ $($of:ident: $value:expr),+ $(,)? })?,)+
        }
        $(includes {
            $(
                $(#[$set_doc:meta])* $wrapper:ident($set:ty) = $set_word:path
                $({ $($set_of:ident: $set_value:path),+ $(,)? })?,
            )+
        })?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $name {
            $($(#[$row_doc])* $variant,)+
            $($($(#[$set_doc])* $wrapper($set),)+)?
        }

        const _: () = {
            #[derive(Clone, Copy)]
            struct Row {
                word: &'static str,
                $($($column: $type,)+)?
            }

            enum Position {
                $($variant,)+
            }

            const ROWS: &[Row] = &[$(Row { word: $word, $($($of: $value,)+)? },)+];
            const OWN: &[$name] = &[$($name::$variant,)+];
            const COUNT: usize = ROWS.len() $($(+ <$set>::ALL.len())+)?;

            const fn row(value: $name) -> Row {
                match value {
                    $($name::$variant => ROWS[Position::$variant as usize],)+
                    $($(
                        $name::$wrapper(value) => {
                            Row { word: $set_word(value), $($($set_of: $set_value(value),)+)? }
                        }
                    )+)?
                }
            }

            impl $name {
                /// Every value, in the order of the table.
                #[allow(dead_code, reason = "each closed set has it")]
                pub const ALL: [Self; COUNT] = {
                    let mut all = [OWN[0]; COUNT];
                    let mut at = 0;
                    while at < OWN.len() {
                        all[at] = OWN[at];
                        at += 1;
                    }
                    $($(
                        let mut inner = 0;
                        while inner < <$set>::ALL.len() {
                            all[at] = Self::$wrapper(<$set>::ALL[inner]);
                            inner += 1;
                            at += 1;
                        }
                    )+)?
                    all
                };

                /// The word of the value, in labels, logs and records.
                #[must_use]
                #[allow(dead_code, reason = "each closed set has it")]
                pub const fn as_str(self) -> &'static str {
                    row(self).word
                }

                /// The position of the value in [`Self::ALL`].
                #[must_use]
                #[allow(dead_code, reason = "each closed set has it")]
                pub const fn index(self) -> usize {
                    $(
                        enum Included {
                            $($wrapper,)+
                        }

                        const fn before(included: usize) -> usize {
                            let sizes = [$(<$set>::ALL.len(),)+];
                            let (mut sum, mut at) = (OWN.len(), 0);
                            while at < included {
                                sum += sizes[at];
                                at += 1;
                            }
                            sum
                        }
                    )?
                    match self {
                        $(Self::$variant => Position::$variant as usize,)+
                        $($(
                            Self::$wrapper(value) => value.index() + const { before(Included::$wrapper as usize) },
                        )+)?
                    }
                }

                $($(
                    $(#[$column_doc])*
                    #[must_use]
                    pub const fn $column(self) -> $type {
                        row(self).$column
                    }
                )+)?
            }

            impl $crate::closed_set::LabelValue for $name {
                const ALL: &'static [Self] = &Self::ALL;

                fn as_str(self) -> &'static str {
                    self.as_str()
                }

                fn index(self) -> usize {
                    self.index()
                }
            }
        };
    };
}

pub(crate) use closed_set;

#[cfg(test)]
mod tests {
    use super::*;

    closed_set! {
        /// Side of a coin.
        #[derive(PartialOrd, Ord)]
        enum Side {
            /// The number.
            Number = "number",
            /// The picture.
            Picture = "picture",
        }
    }

    closed_set! {
        /// Result of a toss.
        #[derive(PartialOrd, Ord)]
        enum Toss(
            /// True if the coin has to be found first.
            is_lost: bool,
            /// Tosses that follow.
            again: u8,
        ) {
            /// The coin rolled away.
            Rolled = "rolled" { is_lost: true, again: 1 },
            /// The coin stands on its edge.
            Edge = "edge" { is_lost: false, again: 1 },
        }
        includes {
            /// The coin lies.
            First(Side) = Side::as_str { is_lost: never, again: none },
            /// The coin lies after a second toss.
            Second(Side) = second { is_lost: never, again: none },
        }
    }

    const fn never(_: Side) -> bool {
        false
    }

    const fn none(_: Side) -> u8 {
        0
    }

    const fn second(side: Side) -> &'static str {
        match side {
            Side::Number => "second-number",
            Side::Picture => "second-picture",
        }
    }

    #[test]
    fn values_stand_in_the_order_of_the_table() {
        assert_eq!(Side::ALL, [Side::Number, Side::Picture]);
        let words: Vec<_> = Toss::ALL.iter().map(|toss| toss.as_str()).collect();
        assert_eq!(words, ["rolled", "edge", "number", "picture", "second-number", "second-picture"]);
        for (at, toss) in <Toss as LabelValue>::ALL.iter().enumerate() {
            assert_eq!(toss.index(), at, "{toss:?}");
        }
        assert!(Toss::Rolled < Toss::First(Side::Number));
    }

    #[test]
    fn columns_are_those_of_the_row() {
        assert!(Toss::Rolled.is_lost() && !Toss::Edge.is_lost() && !Toss::Second(Side::Number).is_lost());
        assert_eq!(Toss::ALL.map(Toss::again), [1, 1, 0, 0, 0, 0]);
    }
}
