//! The records of a metadata store, as a disk, a bug or a stranger may leave them.
//!
//! Law (P6): a store is restored, or refused with the key of a record that can't be read; an engine
//! that was restored lives, and comes to its end.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use tandem_core::engine::{Config, Last, RestoreError};
use tandem_core::time::Time;

use crate::disk::Folder;
use crate::folk::{self, Pair};
use crate::noise::Noise;
use crate::shell::Shell;

type Store = BTreeMap<Vec<u8>, Vec<u8>>;

/// The letters with which keys begin.
const LETTERS: &[u8] = b"mripbofhx";

/// Deadlines that pass for a restored engine: its dialling, its greeting and a retry of each.
const WAITS: usize = 6;

/// Has stores that were written by a host and a joiner changed as the bytes say, and restored.
///
/// # Panics
///
/// When a law does not hold.
pub fn metadata_records(bytes: &[u8]) {
    static WRITTEN: OnceLock<[Store; 2]> = OnceLock::new();
    let written = WRITTEN.get_or_init(written);
    let mut noise = Noise(bytes);
    let is_host = noise.one_in(2);
    let mut store = written[usize::from(!is_host)].clone();
    if noise.one_in(8) {
        store.clear();
    }
    let lasts = [Last::Clean, Last::Killed, Last::Lost];
    let last = noise.pick(&lasts).unwrap_or(Last::Clean);
    while !noise.is_over() {
        change(&mut store, &mut noise);
    }
    for (key, value) in &store {
        tandem_core::is_record(key, value);
    }
    let (config, folder) = if is_host {
        (folk::host(), Folder::small())
    } else {
        (folk::joiner(), Folder::default())
    };
    restore(config, folder, store, last);
}

fn restore(config: Config, folder: Folder, store: Store, last: Last) {
    match Shell::of(config, folder, store.clone(), last, Time::ZERO) {
        Ok(mut shell) => {
            shell.work_all();
            for _ in 0..WAITS {
                shell.wait();
                shell.work_all();
            }
            shell.stop();
        }
        Err(RestoreError::Record { key }) => {
            assert!(
                store.contains_key(&key),
                "the record that is named is there"
            );
        }
    }
}

/// Returns the stores of a host and of a joiner that has all of a file.
fn written() -> [Store; 2] {
    let mut pair = Pair::new();
    pair.check();
    let stores = [pair.host, pair.joiner].map(|mut shell| {
        shell.stop();
        shell.store
    });
    for store in &stores {
        assert!(store.len() > 8, "there is something to change");
    }
    stores
}

/// Changes one record.
fn change(store: &mut Store, noise: &mut Noise<'_>) {
    let keys: Vec<Vec<u8>> = store.keys().cloned().collect();
    let key = keys.get(noise.index(keys.len())).cloned();
    let key = key.unwrap_or_else(|| b"m".to_vec());
    let other = keys.get(noise.index(keys.len())).cloned();
    match noise.byte() % 7 {
        0 => {
            store.remove(&key);
        }
        1 => {
            // Another's value under this key.
            let value = other.and_then(|other| store.get(&other).cloned());
            store.insert(key, value.unwrap_or_default());
        }
        2 => {
            // This value under another key.
            let mut moved = key.clone();
            flip(&mut moved, noise);
            let value = store.remove(&key);
            store.insert(moved, value.unwrap_or_default());
        }
        3 => {
            let mut new = LETTERS[noise.index(LETTERS.len())..][..1].to_vec();
            new.extend_from_slice(noise.counted());
            store.insert(new, noise.counted().to_vec());
        }
        4 => {
            let value = store.entry(key).or_default();
            value.truncate(noise.byte().into());
        }
        _ => flip(store.entry(key).or_default(), noise),
    }
}

/// Changes a byte.
fn flip(bytes: &mut [u8], noise: &mut Noise<'_>) {
    let at = noise.index(bytes.len());
    let by = noise.byte();
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= by;
    }
}
