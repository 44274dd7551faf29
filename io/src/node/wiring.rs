//! The real network and disk, as the driver sees them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tandem_core::action::{DiskWish, Record, Stored};
use tandem_core::event::Event;
use tandem_core::ids::{AskId, CommitId, FetchId, JobId, LinkId, NodeId, PeerId};
use tandem_core::message::{Answer, Message, Want};

use crate::disk::objects;
use crate::disk::pool::Disk;
use crate::driver::{Store, Wire};
use crate::mount::{Objects, Space};
use crate::net::Net;

impl Wire for Net {
    fn dial(&self, link: LinkId, peer: PeerId) {
        self.dial(link, peer);
    }

    fn send(&self, link: LinkId, message: Message) {
        self.send(link, message);
    }

    fn close(&self, link: LinkId) {
        self.close(link);
    }

    fn fetch(&self, fetch: FetchId, link: LinkId, lane: u32, want: Want, len: u32) {
        self.fetch(fetch, link, lane, want, len);
    }

    fn close_lanes(&self, link: LinkId, node: NodeId) {
        self.close_lanes(link, node);
    }

    fn answer(&self, ask: AskId, answer: Answer) {
        self.answer(ask, answer);
    }
}

impl Store for Disk {
    fn perform(&self, job: JobId, wish: DiskWish) {
        self.perform(job, wish);
    }

    fn commit(&self, commit: CommitId, records: Vec<Record>, sync: bool) {
        self.commit(commit, records, sync);
    }

    fn claim(&self, wish: &DiskWish) -> bool {
        self.claim(wish)
    }

    fn do_claimed(&self, job: JobId, wish: DiskWish) -> Event {
        self.do_claimed(job, wish)
    }
}

/// The objects of a store, and the disk that they lie on.
#[derive(Debug)]
pub(super) struct StoredObjects {
    pub(super) objects: Arc<objects::Objects>,
    pub(super) dir: PathBuf,
}

impl Objects for StoredObjects {
    fn read(&self, stored: Stored, buffer: &mut [u8]) -> io::Result<()> {
        self.objects.read(stored, buffer)
    }

    fn space(&self) -> io::Result<Space> {
        space_of(&self.dir)
    }
}

/// Returns the space that this user may still fill on the disk of `dir`.
fn space_of(dir: &Path) -> io::Result<Space> {
    let told = rustix::fs::statvfs(dir)?;
    Ok(Space {
        free: told.f_bavail.saturating_mul(told.f_frsize),
        files: told.f_favail,
    })
}
