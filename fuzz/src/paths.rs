//! Paths: what a watcher hints at, and what a user wants.
//!
//! Law: any path of names is harmless. The disk is asked for no more at once than the bounds
//! allow, and only for what stands in a directory that is known or its next name; a want of what
//! is not there ends so.

use tandem_core::action::WantState;
use tandem_core::event::{Event, Hint};
use tandem_core::tree::name::Name;

use crate::disk::{Thing, name_of};
use crate::folk::Pair;
use crate::noise::Noise;
use crate::words::NAMES;

/// The names of the longest path, by eye: far above a folder's depth, as many as an input has.
const DEPTH_MAX: usize = 2_048;

/// Gives a host hints, and a joiner wants, of paths made of the bytes.
///
/// # Panics
///
/// When a law does not hold.
pub fn paths(bytes: &[u8]) {
    let mut noise = Noise(bytes);
    let mut pair = Pair::new();
    let mut wanted = Vec::new();
    if noise.one_in(2) {
        pair.talk();
    }
    while !noise.is_over() {
        let deed = noise.byte() % 8;
        let path = path(&mut noise);
        match deed {
            0 | 1 => {
                let settled = deed == 0;
                pair.host.tell(Event::Hint(Hint::Path { path, settled }));
            }
            2 => pair.host.tell(Event::Hint(Hint::Subtree { path })),
            3 => {
                pair.host.work();
            }
            4 => pair.talk(),
            5 => pair.wait(),
            _ => wanted.push((path.clone(), pair.joiner.want(path))),
        }
    }
    pair.check();
    for (path, req) in wanted {
        let state = pair.joiner.ended.get(&req);
        let mut things = pair.host.folder.things();
        let thing = things.find(|(at, _)| *at == path).map(|(_, thing)| thing);
        let is_right = match thing {
            Some(Thing::File(_)) => matches!(state, Some(WantState::Done { .. }) | None),
            Some(Thing::Link(_)) => matches!(state, Some(WantState::IsSymlink)),
            Some(Thing::Dir) => matches!(state, Some(WantState::IsDirectory)),
            None if path.is_empty() => matches!(state, Some(WantState::IsDirectory)),
            None => matches!(state, Some(WantState::NotFound)),
        };
        assert!(is_right, "{path:?} is {state:?}");
    }
    pair.host.stop();
    pair.joiner.stop();
}

fn path(noise: &mut Noise<'_>) -> Vec<Name> {
    let depth = match noise.byte() {
        0xff => DEPTH_MAX,
        small => usize::from(small % 5),
    };
    let mut path = Vec::new();
    while path.len() < depth && !(depth == DEPTH_MAX && noise.is_over()) {
        let name = match noise.byte() {
            0xff => Name::parse(noise.counted()).unwrap_or_else(|_| name_of(b"odd")),
            small => name_of(NAMES[usize::from(small) % NAMES.len()]),
        };
        path.push(name);
    }
    path
}
