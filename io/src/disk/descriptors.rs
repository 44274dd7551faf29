//! Open descriptors of objects, kept for the next use.
//!
//! Law: there are at most so many; a descriptor that was opened before an object was replaced or
//! removed is never handed out after. The lock is held for a look into a map, never over I/O.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tandem_core::ids::ObjectId;

/// The kept descriptors.
#[derive(Debug)]
pub(crate) struct Descriptors<T = OwnedFd> {
    kept: Mutex<Kept<T>>,
    max: usize,
}

#[derive(Debug)]
struct Kept<T> {
    by_object: BTreeMap<ObjectId, (Arc<T>, u64)>,
    uses: u64,
    /// How often anything was forgotten: what was opened before may be what was forgotten.
    forgotten: u64,
}

impl<T> Descriptors<T> {
    /// Keeps at most `max`.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            kept: Mutex::new(Kept {
                by_object: BTreeMap::new(),
                uses: 0,
                forgotten: 0,
            }),
            max,
        }
    }

    /// Returns the descriptor of an object, which `open` opens if none is kept.
    pub(crate) fn get<E>(
        &self,
        object: ObjectId,
        open: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let forgotten = {
            let mut kept = self.lock();
            kept.uses += 1;
            let uses = kept.uses;
            if let Some((fd, used)) = kept.by_object.get_mut(&object) {
                *used = uses;
                return Ok(Arc::clone(fd));
            }
            kept.forgotten
        };
        let fd = Arc::new(open()?);
        let mut kept = self.lock();
        if kept.forgotten == forgotten {
            let uses = kept.uses;
            kept.by_object.insert(object, (Arc::clone(&fd), uses));
            if kept.by_object.len() > self.max {
                let oldest = kept.by_object.iter().min_by_key(|(_, (_, used))| *used);
                if let Some(oldest) = oldest.map(|(object, _)| *object) {
                    kept.by_object.remove(&oldest);
                }
            }
        }
        Ok(fd)
    }

    /// Forgets an object's descriptor; call it after the file was replaced or removed.
    pub(crate) fn forget(&self, object: ObjectId) {
        let mut kept = self.lock();
        kept.forgotten += 1;
        kept.by_object.remove(&object);
    }

    fn lock(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use tandem_core::ids::{ActorId, Dot, NodeId};

    use super::*;

    fn object(counter: u64) -> ObjectId {
        let dot = Dot {
            actor: ActorId(1),
            counter,
        };
        ObjectId {
            node: NodeId(dot),
            version: dot,
        }
    }

    fn open() -> Result<OwnedFd, std::io::Error> {
        Ok(std::fs::File::open("/dev/null")?.into())
    }

    #[test]
    fn the_least_used_goes_first() {
        let kept = Descriptors::new(2);
        let first = kept.get(object(1), open).unwrap().as_raw_fd();
        kept.get(object(2), open).unwrap();
        kept.get(object(1), open).unwrap();
        kept.get(object(3), open).unwrap();
        let never = || -> Result<OwnedFd, std::io::Error> { panic!("it is kept") };
        assert_eq!(kept.get(object(1), never).unwrap().as_raw_fd(), first);
        let mut opened = false;
        kept.get(object(2), || {
            opened = true;
            open()
        })
        .unwrap();
        assert!(opened);
    }

    #[test]
    fn what_was_opened_before_a_replacement_is_not_kept() {
        let kept = Descriptors::new(2);
        kept.get(object(1), || {
            kept.forget(object(1));
            open()
        })
        .unwrap();
        let mut opened = false;
        kept.get(object(1), || {
            opened = true;
            open()
        })
        .unwrap();
        assert!(opened);
    }
}
