//! A peer's metadata: records, committed all or none, in order.
//!
//! Law: a kill keeps every commit that was carried out; a power loss keeps those up to the last
//! one that was synced, and any number of the following ones, but no later one without an
//! earlier.

use std::collections::BTreeMap;

use tandem_core::action::Record;

use crate::choices::Chance;

/// The records of one store.
#[derive(Clone, Debug, Default)]
pub struct Records {
    synced: BTreeMap<Vec<u8>, Vec<u8>>,
    since: Vec<Vec<Record>>,
    now: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Records {
    /// Carries out a commit.
    pub fn commit(&mut self, records: Vec<Record>, sync: bool) {
        apply(&mut self.now, &records);
        self.since.push(records);
        if sync {
            for records in self.since.drain(..) {
                apply(&mut self.synced, &records);
            }
        }
    }

    /// Loses power. Returns whether a commit was lost.
    pub fn lose_power(&mut self, chance: &mut Chance) -> bool {
        let kept = chance.part(self.since.len());
        let lost = kept < self.since.len();
        for records in self.since.drain(..).take(kept) {
            apply(&mut self.synced, &records);
        }
        self.now.clone_from(&self.synced);
        lost
    }

    /// Returns a value that outlives a power loss.
    pub fn durable(&self, key: &[u8]) -> Option<&Vec<u8>> {
        self.synced.get(key)
    }

    /// Returns a value that outlives a kill.
    pub fn here(&self, key: &[u8]) -> Option<&Vec<u8>> {
        self.now.get(key)
    }

    /// Loses everything: the store was found damaged and set aside.
    pub fn wipe(&mut self) {
        *self = Self::default();
    }

    /// Returns all records that outlive a power loss.
    pub fn all_durable(&self) -> impl Iterator<Item = (&[u8], &[u8])> + '_ {
        let written = self.synced.iter();
        written.map(|(key, value)| (key.as_slice(), value.as_slice()))
    }

    /// Returns all records.
    pub fn all(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
        self.now
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
    }
}

fn apply(to: &mut BTreeMap<Vec<u8>, Vec<u8>>, records: &[Record]) {
    for record in records {
        match &record.value {
            Some(value) => drop(to.insert(record.key.clone(), value.clone())),
            None => drop(to.remove(&record.key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: u8) -> Vec<Record> {
        vec![Record {
            key: vec![key],
            value: Some(vec![key]),
        }]
    }

    #[test]
    fn power_loss_keeps_a_prefix_that_holds_all_that_was_synced() {
        for seed in 0..64 {
            let mut chance = crate::choices::Choices::new(seed).stream(crate::choices::Key::Config);
            let mut records = Records::default();
            for key in 0..6 {
                records.commit(put(key), key == 2);
            }
            records.lose_power(&mut chance);
            let keys: Vec<u8> = records.all().map(|(key, _)| key[0]).collect();
            assert!(keys.len() >= 3);
            assert!(
                keys.iter()
                    .copied()
                    .eq(0..u8::try_from(keys.len()).unwrap())
            );
        }
    }
}
