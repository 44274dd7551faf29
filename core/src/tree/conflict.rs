//! Conflict copies: under which node id and under which name a version is shown that lost.
//!
//! Law: both are functions of the registers alone, so that all peers make the same copy. The id
//! is the version's dot with the counter's top bit set, which no update of an actor ever has.
//! The name is `stem (conflict from AUTHOR YYYY-MM-DD xxxx).ext`, at most 255 bytes: what does
//! not fit is cut off the stem, between characters where they are UTF-8.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::ids::{Dot, NodeId};
use crate::label::Label;
use crate::limits::NAME_LEN_MAX;
use crate::mutant::{Mutant, is_host, is_planted};
use crate::tree::name::Name;

/// Counters of updates lie below both bits; those of conflict copies have the first, and those of
/// what is set aside, which no tree has, the second.
pub(super) const COPY_BIT: u64 = 1 << 63;
const ASIDE_BIT: u64 = 1 << 62;

/// What a planted fault has depend on who shows a copy.
const LOCAL_BIT: u64 = if cfg!(feature = "mutants") {
    1 << 61
} else {
    0
};

/// The longest ending of a name, its dot included, that is kept at the end of a copy's name:
/// longer than any ending that a program goes by, by eye.
const EXTENSION_LEN_MAX: usize = 32;

/// Returns the node under which `version` is shown when it lost.
pub fn copy_of(version: Dot) -> NodeId {
    let planted = is_planted(Mutant::CopyIdLocal) && is_host();
    let local = if planted { LOCAL_BIT } else { 0 };
    NodeId(Dot {
        actor: version.actor,
        counter: version.counter | COPY_BIT | local,
    })
}

/// Returns the version that `node` is a copy of, if it is one.
pub fn copied(node: NodeId) -> Option<Dot> {
    (node.0.counter & COPY_BIT != 0).then_some(Dot {
        actor: node.0.actor,
        counter: node.0.counter & !COPY_BIT & !LOCAL_BIT,
    })
}

/// Returns an id that no file has, and no version but this.
pub(crate) fn aside_of(version: Dot) -> NodeId {
    NodeId(Dot {
        actor: version.actor,
        counter: version.counter | ASIDE_BIT,
    })
}

/// Returns the name of a copy of what is called `base`.
///
/// `day` counts from 1970-01-01. Ask with `attempt` 0 first, and with the next one when that
/// name is taken: 4, 8, 16 and 32 hex digits are tried, then a number after them.
pub fn copy_name(base: &Name, author: &Label, day: u32, dot: Dot, attempt: u32) -> Name {
    let (stem, extension) = split(base.as_bytes());
    let (year, month, day) = civil(day);
    let digits = format!("{:032x}", mixed(dot));
    let digits = match attempt {
        0 => String::from(&digits[..4]),
        1 => String::from(&digits[..8]),
        2 => String::from(&digits[..16]),
        3 => digits,
        more => format!("{digits}-{more}"),
    };
    let author = author.as_str();
    let suffix = format!(" (conflict from {author} {year:04}-{month:02}-{day:02} {digits})");

    beside(stem, &suffix, extension)
}

/// Returns the name under which a thing out of the trash stands where its own is taken:
/// `stem (restored YYYY-MM-DD xxxx).ext`, with four hex digits or more of its number.
///
/// `day` counts from 1970-01-01. Ask with `attempt` 0 first, and with the next one when that
/// name is taken: a number stands after the digits then.
pub(crate) fn restored_name(base: &Name, day: u32, number: u64, attempt: u32) -> Name {
    let (stem, extension) = split(base.as_bytes());
    let (year, month, day) = civil(day);
    let more = match attempt {
        0 => String::new(),
        more => format!("-{more}"),
    };
    let suffix = format!(" (restored {year:04}-{month:02}-{day:02} {number:04x}{more})");
    beside(stem, &suffix, extension)
}

/// Returns the name of these parts; what does not fit is cut off the first.
fn beside(stem: &[u8], suffix: &str, extension: &[u8]) -> Name {
    let room = NAME_LEN_MAX.saturating_sub(suffix.len() + extension.len());
    let mut bytes = Vec::with_capacity(NAME_LEN_MAX);
    bytes.extend_from_slice(cut(stem, room));
    bytes.extend_from_slice(suffix.as_bytes());
    bytes.extend_from_slice(extension);
    Name::parse(&bytes).expect("it is of parts that were names and labels, and fits")
}

/// Splits a name before its ending; a dot that leads the name begins none.
fn split(name: &[u8]) -> (&[u8], &[u8]) {
    match name.iter().rposition(|&byte| byte == b'.') {
        Some(at) if at > 0 && name.len() - at <= EXTENSION_LEN_MAX => name.split_at(at),
        Some(_) | None => (name, b""),
    }
}

/// Returns what of `stem` fits into `room` bytes and ends between two characters, if it is UTF-8.
fn cut(stem: &[u8], room: usize) -> &[u8] {
    if stem.len() <= room {
        return stem;
    }
    // A continuation byte has the bits 10; a character has at most three of them.
    let end = (room.saturating_sub(3)..=room)
        .rev()
        .find(|&end| stem.get(end).is_none_or(|&byte| byte & 0xc0 != 0x80));
    stem.get(..end.unwrap_or(room)).unwrap_or(stem)
}

/// Returns 128 bits of a dot, so that the first four digits differ between neighbours.
fn mixed(dot: Dot) -> u128 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&dot.actor.0.to_le_bytes());
    bytes[8..].copy_from_slice(&dot.counter.to_le_bytes());
    xxhash_rust::xxh3::xxh3_128(&bytes)
}

/// Returns year, month and day of a day that counts from 1970-01-01.
///
/// Source: H. Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
pub fn civil(day: u32) -> (u32, u32, u32) {
    // Days from 0000-03-01, so that a leap day ends its year. All u64: the sum is over u32.
    let day = u64::from(day) + 719_468;
    let era = day / 146_097;
    let of_era = day % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let small = |n| u32::try_from(n).expect("32 bits of days are under 12 million years");
    (small(year), small(month), small(day))
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;

    use proptest::prelude::*;

    use super::*;
    use crate::ids::ActorId;

    const DOT: Dot = Dot {
        actor: ActorId(7),
        counter: 9,
    };

    fn named(base: &[u8], attempt: u32) -> Name {
        let ada = Label::parse("ada").unwrap();
        copy_name(&Name::parse(base).unwrap(), &ada, 20_780, DOT, attempt)
    }

    #[test]
    fn a_copy_is_named_after_its_author_and_day() {
        let digits = format!("{:032x}", mixed(DOT));
        let four = &digits[..4];
        for (base, copy) in [
            (
                "notes.txt",
                format!("notes (conflict from ada 2026-11-23 {four}).txt"),
            ),
            (
                "notes",
                format!("notes (conflict from ada 2026-11-23 {four})"),
            ),
            (
                ".profile",
                format!(".profile (conflict from ada 2026-11-23 {four})"),
            ),
            (
                "a.tar.gz",
                format!("a.tar (conflict from ada 2026-11-23 {four}).gz"),
            ),
        ] {
            assert_eq!(named(base.as_bytes(), 0).to_string(), copy);
        }
        let lengths: Vec<_> = (0..5).map(|n| named(b"x", n).as_bytes().len()).collect();
        let first = lengths[0];
        assert_eq!(
            lengths,
            vec![first, first + 4, first + 12, first + 28, first + 30]
        );
    }

    #[test]
    fn what_is_restored_beside_another_is_named_after_the_day_and_its_number() {
        let name = |base: &[u8], attempt| {
            let base = Name::parse(base).unwrap();
            restored_name(&base, 20_780, 0x2a, attempt).to_string()
        };
        assert_eq!(
            name(b"notes.txt", 0),
            "notes (restored 2026-11-23 002a).txt"
        );
        assert_eq!(name(b".rc", 1), ".rc (restored 2026-11-23 002a-1)");
        assert_eq!(name(&[b'x'; 255], 0).len(), 255);
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (day, date) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (789, (1972, 2, 29)),
            (11_016, (2000, 2, 29)),
            (20_780, (2026, 11, 23)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(day), date);
        }
    }

    #[test]
    fn an_id_tells_its_version() {
        assert_eq!(copied(copy_of(DOT)), Some(DOT));
        assert_eq!(copied(NodeId(DOT)), None);
        assert_eq!(copied(NodeId::ROOT), None);
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let base = "\u{20ac}".repeat(85);
        let copy = named(base.as_bytes(), 0);
        assert!(copy.as_bytes().len() > NAME_LEN_MAX - 3);
        let text = core::str::from_utf8(copy.as_bytes()).unwrap();
        assert!(text.starts_with("\u{20ac}\u{20ac}") && text.contains("\u{20ac} (conflict from "));
    }

    proptest! {
        #[test]
        fn every_base_has_copies_all_different(
            base in prop::collection::vec(any::<u8>(), 1..256),
            author in any::<std::string::String>(),
            day in any::<u32>(),
            actor in any::<u64>(),
            counter in 1..ASIDE_BIT,
        ) {
            let Ok(base) = Name::parse(&base) else { return Ok(()) };
            let author = Label::lossy(&author);
            let dot = Dot { actor: ActorId(actor), counter };
            let names: std::collections::BTreeSet<_> =
                (0..6).map(|attempt| copy_name(&base, &author, day, dot, attempt)).collect();
            prop_assert_eq!(names.len(), 6);
            let mark = b" (conflict from ";
            let marked = |name: &Name| {
                name.as_bytes().windows(mark.len()).any(|window| window == mark)
            };
            prop_assert!(names.iter().all(marked));
            if let Ok(base) = core::str::from_utf8(base.as_bytes()) {
                for name in &names {
                    prop_assert!(core::str::from_utf8(name.as_bytes()).is_ok(), "{base}");
                }
            }
        }
    }
}
