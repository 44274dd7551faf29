//! Bytes in passing: what arrived, or was read, and was not yet stored or sent.
//!
//! Law: a payload is put once and taken once. The core knows it by a number only.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tandem_core::ids::PayloadId;

/// The payloads of one shell.
#[derive(Default)]
pub struct Payloads {
    next: AtomicU64,
    parked: Mutex<BTreeMap<PayloadId, Bytes>>,
}

impl Payloads {
    /// Parks `bytes`.
    pub fn put(&self, bytes: Bytes) -> PayloadId {
        let id = PayloadId(self.next.fetch_add(1, Ordering::Relaxed));
        self.parked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, bytes);
        id
    }

    /// Takes them out; `None` if they were taken before.
    pub fn take(&self, id: PayloadId) -> Option<Bytes> {
        self.parked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id)
    }

    /// Returns how many are parked.
    pub fn len(&self) -> usize {
        self.parked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Tells whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Payloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payloads")
            .field("parked", &self.len())
            .finish_non_exhaustive()
    }
}
