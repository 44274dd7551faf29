//! The disk has done a job, or refused it.

use crate::draft::DraftJob;
use crate::engine::Engine;
use crate::error::{DiskError, Fault};
use crate::event::{DiskDone, Fingerprint};
use crate::ids::{AskId, ChunkHash, ChunkIx, JobId, NodeId, ObjectId};
use crate::object::Fare;
use crate::on::copy::Copying;
use crate::on::trash::TrashJob;
use crate::placing::Deed;
use crate::tree::name::Name;

/// What a job was for.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    /// A directory of the shared folder is listed.
    Listed(NodeId),
    /// The shared folder itself is looked at.
    RootLooked,
    /// A name of the shared folder is looked at.
    Looked(NodeId, Name),
    /// A chunk is read for a peer.
    Serve(AskId),
    /// A chunk is read out of the store for a peer.
    ServeStored {
        /// Who waits.
        ask: AskId,
        /// The file in which it is.
        file: ObjectId,
    },
    /// Something is done with a draft.
    Draft {
        /// Of which file.
        node: NodeId,
        /// What.
        what: DraftJob,
    },
    /// A chunk is read to see whether its hash still holds.
    Recheck {
        /// Of which file.
        node: NodeId,
        /// For which of its rechecks.
        round: u64,
        /// What its hash should be.
        hash: ChunkHash,
    },
    /// What is stored of an object is found.
    Loaded(ObjectId),
    /// What is stored of an ancestor is found.
    Recalled(ObjectId),
    /// An object's file is made.
    Created(ObjectId),
    /// A chunk is written.
    Stored {
        /// Of which object.
        object: ObjectId,
        /// Which chunk.
        chunk: ChunkIx,
        /// Its hash.
        hash: ChunkHash,
        /// What it took to get it.
        fare: Fare,
    },
    /// Bytes are read that may be a chunk's.
    Copied(Copying),
    /// A chunk of a plain file is read that may be an object's.
    CopiedPlain {
        /// Of which object.
        object: ObjectId,
        /// Which chunk.
        chunk: ChunkIx,
        /// How many bytes it has.
        len: u32,
        /// The file's fingerprint.
        print: Fingerprint,
        /// Whether it lies in the trash.
        is_thrown: bool,
    },
    /// What stands where an object's chunk will be is read.
    Beneath {
        /// Of which object.
        object: ObjectId,
        /// Which chunk.
        chunk: ChunkIx,
        /// The file's fingerprint.
        print: Fingerprint,
    },
    /// A claim is hashed.
    Checked {
        /// Of which object.
        object: ObjectId,
        /// Which chunk.
        chunk: ChunkIx,
    },
    /// A sidecar is cut or marked.
    Marked(ObjectId),
    /// An object's data is synced.
    Synced(ObjectId),
    /// An object's file goes to its place.
    Finished(ObjectId),
    /// An object's files are removed.
    Removed(ObjectId),
    /// A directory out of the way is listed.
    Strays(NodeId),
    /// Something is done to the shared folder.
    Place(Deed),
    /// The files of an object that can't be read are removed, to be made anew.
    Cleared(ObjectId),
    /// Something is done in the trash.
    Trash(TrashJob),
}

impl Engine {
    /// A disk job has ended.
    pub(crate) fn on_disk(&mut self, job: JobId, outcome: Result<DiskDone, DiskError>) {
        let Some(what) = self.jobs.remove(&job) else {
            self.drop_payload(outcome);
            return;
        };
        match what {
            Job::Place(deed) => self.on_placed(deed, outcome),
            Job::Trash(job) => self.on_trash(job, outcome),
            Job::Listed(dir) => self.on_listed(job, dir, outcome),
            Job::Strays(dir) => self.on_strays(dir, outcome),
            Job::RootLooked => self.on_root_looked(outcome),
            Job::Looked(dir, name) => self.on_looked(dir, name, outcome),
            Job::Serve(ask) => self.on_served(ask, outcome),
            Job::ServeStored { ask, file } => self.on_served_stored(ask, file, outcome),
            Job::Draft { node, what } => self.on_drafted(node, what, outcome),
            Job::Recheck { node, round, hash } => self.on_rechecked(node, round, hash, outcome),
            Job::Loaded(object) => {
                match outcome {
                    Ok(DiskDone::Loaded {
                        sidecar,
                        partial,
                        complete,
                    }) => {
                        self.on_loaded(object, sidecar, partial, complete);
                    }
                    other => self.object_refused(object, "looking for", other),
                }
                self.job_ended(object);
            }
            Job::Recalled(object) => self.on_recalled(object, outcome),
            Job::Created(object) => {
                match outcome {
                    Ok(DiskDone::Done) => {
                        self.on_created(object);
                        self.wake(object);
                    }
                    other => self.object_refused(object, "making the file of", other),
                }
                self.job_ended(object);
            }
            Job::Stored {
                object,
                chunk,
                hash,
                fare,
            } => {
                self.landed(fare);
                if let Some(kept) = self.objects.get_mut(&object) {
                    kept.storing.remove(&chunk);
                }
                match outcome {
                    Ok(DiskDone::Done) => self.on_stored(object, chunk, hash, fare),
                    other => self.object_refused(object, "writing a chunk of", other),
                }
                self.job_ended(object);
            }
            Job::Copied(copying) => {
                self.on_copied(copying, outcome);
                self.job_ended(copying.object);
            }
            Job::CopiedPlain {
                object,
                chunk,
                len,
                print,
                is_thrown,
            } => {
                self.on_copied_plain((object, chunk), len, (print, is_thrown), outcome);
                self.job_ended(object);
            }
            Job::Beneath {
                object,
                chunk,
                print,
            } => {
                self.on_beneath((object, chunk), print, outcome);
                self.job_ended(object);
            }
            Job::Checked { object, chunk } => {
                let found = match outcome {
                    Ok(DiskDone::Hashed { len, hash }) => Ok((len, hash)),
                    Ok(other) => {
                        self.drop_payload(Ok(other));
                        Err(DiskError::Io)
                    }
                    Err(why) => Err(why),
                };
                self.on_checked(object, chunk, found);
                self.job_ended(object);
            }
            Job::Marked(object) => {
                match outcome {
                    Ok(DiskDone::Done) => {}
                    other => self.object_refused(object, "marking the sidecar of", other),
                }
                self.job_ended(object);
            }
            Job::Synced(object) => {
                match outcome {
                    Ok(DiskDone::Done) => self.on_synced(object),
                    other => self.object_refused(object, "syncing", other),
                }
                self.job_ended(object);
            }
            Job::Finished(object) => {
                match outcome {
                    Ok(DiskDone::Done) => self.on_finished(object),
                    other => self.object_refused(object, "putting in its place", other),
                }
                self.job_ended(object);
            }
            Job::Cleared(object) => {
                match outcome {
                    Ok(DiskDone::Done) | Err(DiskError::NotFound) => {}
                    other => self.object_refused(object, "removing what can't be read of", other),
                }
                self.job_ended(object);
            }
            Job::Removed(object) => match outcome {
                Ok(_) | Err(DiskError::NotFound) => self.on_removed(object),
                Err(why) => self.fault(Fault::Disk {
                    what: "removing an object".into(),
                    why,
                }),
            },
        }
    }

    /// A job on an object failed, or brought what it can't have brought.
    fn object_refused(
        &mut self,
        object: ObjectId,
        what: &str,
        outcome: Result<DiskDone, DiskError>,
    ) {
        let why = match &outcome {
            Ok(_) => DiskError::Io,
            Err(why) => *why,
        };
        self.drop_payload(outcome);
        self.object_failed(object, what, why);
    }

    /// Gives back a payload that nobody waits for.
    pub(crate) fn drop_payload(&mut self, outcome: Result<DiskDone, DiskError>) {
        if let Ok(DiskDone::Chunk { payload, .. } | DiskDone::Read { payload, .. }) = outcome {
            self.act(crate::action::Action::Drop { payload });
        }
    }
}
