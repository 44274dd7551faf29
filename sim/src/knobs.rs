//! Knobs: what of a configuration can be switched off as a whole, so that shrinking takes away
//! kinds of faults as it takes away planned events.
//!
//! Law: a knob turned off draws no less chance than before; what is left happens as it did, as far
//! as it does not depend on what was taken away.

use crate::config::{Config, Minority};

/// The number of the first knob among the numbers of planned events.
const FIRST: u32 = 1_000_000;

type Knob = (&'static str, fn(&Config) -> bool, fn(&mut Config));

const KNOBS: &[Knob] = &[
    ("corrupt", |c| c.corrupt > 0, |c| c.corrupt = 0),
    (
        "store-errors",
        |c| c.store_errors > 0,
        |c| c.store_errors = 0,
    ),
    (
        "folder-errors",
        |c| c.folder_errors > 0,
        |c| c.folder_errors = 0,
    ),
    (
        "commit-errors",
        |c| c.commit_errors > 0,
        |c| c.commit_errors = 0,
    ),
    ("hints-lost", |c| c.hints_lost > 0, |c| c.hints_lost = 0),
    ("hints-twice", |c| c.hints_twice > 0, |c| c.hints_twice = 0),
    ("dial-errors", |c| c.dial_errors > 0, |c| c.dial_errors = 0),
    ("wrong-keys", |c| c.wrong_keys > 0, |c| c.wrong_keys = 0),
    ("half-open", |c| c.half_open > 0, |c| c.half_open = 0),
    ("relapses", |c| c.relapses > 0, |c| c.relapses = 0),
    ("writable", |c| c.writable != 0, |c| c.writable = 0),
    ("hard-links", |c| c.hard_links, |c| c.hard_links = false),
    (
        "minority",
        |c| c.minority != Minority::Nobody,
        |c| c.minority = Minority::Nobody,
    ),
    ("guest", |c| c.guest, |c| c.guest = false),
    ("joiners", |c| c.joiners > 1, |c| c.joiners = 1),
    ("users", |c| c.threads > 0, |c| c.threads = 0),
    ("undo", |c| c.restores > 0, |c| c.restores = 0),
    ("settling", |c| c.settles > 0, |c| c.settles = 0),
    ("far", |c| c.far != 0, |c| c.far = 0),
];

/// Returns the number of a knob.
pub fn number(name: &str) -> Option<u32> {
    let at = KNOBS.iter().position(|(known, ..)| *known == name)?;
    Some(FIRST + u32::try_from(at).ok()?)
}

fn of(number: u32) -> Option<&'static Knob> {
    let at = number.checked_sub(FIRST)?;
    KNOBS.get(usize::try_from(at).ok()?)
}

/// Tells whether a number is that of a knob.
pub fn is(number: u32) -> bool {
    of(number).is_some()
}

/// Returns how a planned event or knob is written on a command line.
pub fn name(number: u32) -> String {
    of(number).map_or_else(|| number.to_string(), |(name, ..)| (*name).to_owned())
}

/// Returns the number of what was written on a command line.
pub fn parse(word: &str) -> Option<u32> {
    number(word).or_else(|| word.parse().ok())
}

/// Returns the knobs that are on in a configuration.
pub fn on(config: &Config) -> Vec<u32> {
    let all = KNOBS.iter().filter(|(_, is_on, _)| is_on(config));
    all.filter_map(|(name, ..)| number(name)).collect()
}

/// Turns knobs off.
pub fn turn_off(config: &mut Config, off: &[u32]) {
    for number in off {
        if let Some((_, _, turn)) = of(*number) {
            turn(config);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_knob_turns_off_and_is_found_by_its_name() {
        let mut config = Config::quiet();
        config.threads = 2;
        let on = on(&config);
        assert_eq!(on.iter().map(|n| name(*n)).collect::<Vec<_>>(), ["users"]);
        assert_eq!(parse("users"), on.first().copied());
        assert_eq!(parse("17"), Some(17));
        turn_off(&mut config, &on);
        assert_eq!(config.threads, 0);
    }
}
