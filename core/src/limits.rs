//! Bounds, each with the reason for its number.
//!
//! Law (P6): memory, queues, retries and time are bounded, whatever a peer or a file on disk
//! contains. A bound that is not here does not exist.

use crate::time::Duration;

/// The size of a chunk in bytes: what the reference implementation uses, and the unit of the
/// wire. Large enough that a hash table is small, small enough that a seek does not wait.
pub const CHUNK_SIZE: u32 = 512 * 1024;

/// The largest file, in bytes: 2³² − 1 chunks, since a bitmap counts its chunks in 32 bits.
pub const FILE_SIZE_MAX: u64 = (u32::MAX as u64) * (CHUNK_SIZE as u64);

/// The longest name in bytes: `NAME_MAX` of every Linux file system.
pub const NAME_LEN_MAX: usize = 255;

/// The longest symlink target in bytes: `PATH_MAX` less its NUL.
pub const TARGET_LEN_MAX: usize = 4095;

/// The longest name of an extended attribute: Linux's `XATTR_NAME_MAX`.
pub const XATTR_NAME_LEN_MAX: usize = 255;

/// The bytes that all extended attributes of one node may take, names and values together:
/// Linux's `XATTR_SIZE_MAX` and `XATTR_LIST_MAX`.
pub const XATTR_BYTES_MAX: usize = 64 * 1024;

/// The longest name of a peer or folder, in bytes: what fits on a line, by eye.
pub const LABEL_LEN_MAX: usize = 64;

/// The actors that a version vector may name: one for each peer and incarnation; by eye, far
/// above any real folder, and 1 MiB of memory at most.
pub const ACTORS_MAX: usize = 65_536;

/// The registers in one batch: large enough that round trips do not count (10,000 entries are
/// 30,000 registers, 15 batches), small enough that a commit is short.
pub const BATCH_REGISTERS_MAX: usize = 2_048;

/// The registers of one edit, at most, that go out in one batch whatever its length: a rename
/// deletes one name (and of equal files that are one, each) and moves another.
pub const EDIT_REGISTERS_MAX: usize = 64;

/// The bytes in one batch, roughly: below the 1 MiB frame of the wire.
pub const BATCH_BYTES_MAX: usize = 512 * 1024;

/// Batches sent and not yet acknowledged, for each link: hides a round trip, bounds the queue.
pub const BATCHES_IN_FLIGHT_MAX: u32 = 4;

/// Bytes of chunks asked for and not yet stored, for each link: P5 allows at most 64 MiB to be
/// lost in a cut.
pub const FETCH_BYTES_IN_FLIGHT_MAX: u64 = 32 * 1024 * 1024;

/// Superseded versions of a file of which what is here is kept while a newer one fills: the
/// newest, which has what was read last, and the fullest of the others.
pub const ANCESTORS_MAX: usize = 2;

/// Chunks that are made at once of what is here, with nobody asked: keeps a disk busy, and a few
/// megabytes of memory at most at the usual chunk size.
pub const COPIES_MAX: u32 = 16;

/// Chunks that one peer may have asked of us and that are not answered: twice what it may have
/// in flight at the usual chunk size.
pub const ASKS_PER_LINK_MAX: usize = 256;

/// Files that a host pushes and that are fetched at once; the others wait for their turn.
pub const PUSHED_AT_ONCE: usize = 8;

/// Demand lanes of a file that is being read: one for each of the kernel's parallel readaheads.
pub const LANES: u32 = 4;

/// Files whose lanes are open at once, for each link: 64 × 4 streams are well below what an
/// HTTP/2 connection carries.
pub const LANE_FILES_MAX: usize = 64;

/// Files that are of no use at the moment, of which what is here, and the hashes of that, is kept in
/// memory: some kilobytes each, and one look at the disk for each that is read again after so many
/// others; by eye.
pub const RESTING_MAX: usize = 1_024;

/// Listings of directories under way at once: keeps a disk queue busy without filling memory.
pub const LISTS_IN_FLIGHT_MAX: usize = 4;

/// Looks at single names under way at once: a burst of hints queues here, in names, and not as
/// jobs of the disk.
pub const LOOKS_IN_FLIGHT_MAX: usize = 64;

/// How long a name that was not found is given to turn up elsewhere, before a second look that
/// deletes it: a rename's two hints come within a drain of the watcher; by eye.
pub const MISSING_GRACE: Duration = Duration::from_millis(50);

/// Names that may go missing from the shared folder at once without anybody being asked, however
/// few are left (DESIGN: more than 1,000 files and half of all).
pub const MISSING_UNASKED_MAX: usize = 1_000;

/// Links that have been accepted and not yet said hello: a stranger can hold this many.
pub const GREETING_MAX: usize = 64;

/// How long a link may take from being accepted to its hello.
pub const GREETING_DEADLINE: Duration = Duration::from_secs(10);

/// How long an outside program may keep changing a file before a version of it is published.
pub const GROWING_MAX: Duration = Duration::from_secs(10);

/// How long a changed file must be quiet before a version of it is published.
pub const QUIET: Duration = Duration::from_millis(1_000);

/// Versions of one file that stand side by side, and those that a new one names as standing
/// beside it: each is an edit that somebody made while apart and nobody looked at since, so
/// that a hundred would be many; by eye.
pub const SIBLINGS_MAX: usize = 256;

/// Versions whose conflict copies have come to their end that a new one still names as standing beside
/// it: whoever has kept one meanwhile was away for fewer conflicts of one file than that; by eye.
pub const ENDED_BESIDE_MAX: usize = 16;

/// Earlier incarnations that a replica knows as its own: one comes of each power loss; by eye.
pub const FORMER_ACTORS_MAX: usize = 64;

/// Runs of chunks in which a version says that it differs from its base: more are joined. The
/// writes of a database between two syncs fit, and it takes at most 10 KiB on the wire; by eye.
pub const CHANGED_RUNS_MAX: usize = 1_024;

/// Files of which it is told by name that they are waited for: as many as a person reads; by eye.
pub const WAITING_TOLD_MAX: usize = 20;

/// Names of one node, deleted ones that are not yet forgotten included: ext4 has 65,000 links.
pub const ENTRIES_PER_NODE_MAX: usize = 65_000;

/// Lamport times and counters of updates are at most this: a quarter of what 64 bits hold, so that
/// the next one can always be made, and the two top bits mark what is made of a version.
pub const COUNTER_MAX: u64 = (1 << 62) - 1;

/// How far a peer's register may be ahead of the greatest Lamport time that is known here: more
/// updates than a folder sees in a year at 2,000 a second, and so few that nobody gets near
/// [`COUNTER_MAX`], where the last writer would have won for ever, with fewer than 2²⁶ registers.
pub const LAMPORT_LEAP_MAX: u64 = 1 << 36;

/// The chunk sizes that a file may have, in bytes: powers of two between these.
pub const CHUNK_SIZES: core::ops::RangeInclusive<u32> = 512..=16 * 1024 * 1024;

/// Separate pieces that were written over chunks which are not here, for each draft: 4 MiB of
/// memory at most, and more than a program makes that does not mean to; by eye.
pub const DRAFT_SPANS_MAX: usize = 65_536;

/// Drafts that are synced at once in the background: enough to keep a disk busy, and few enough
/// that an application's own sync does not queue behind a copied folder; by eye.
pub const DRAFT_SYNCS_MAX: usize = 4;

/// The records in a draft's journal, beyond which it is written anew in its shortest form when it
/// was synced: 640 KiB.
pub const JOURNAL_RECORDS_MAX: u64 = 16_384;

/// How long a full replica keeps what peers delete or overwrite, by default: as long as other bins
/// do, and long enough for somebody who was away to miss it.
pub const TRASH_KEPT: Duration = Duration::from_secs(30 * 86_400);

/// How many bytes of that it keeps, by default: 10 GiB, which few disks lack, and which holds a
/// month of what people write; by eye.
pub const TRASH_BYTES_MAX: u64 = 10 << 30;

/// How many things of that it keeps: their records take some 300 bytes of memory each; by eye.
pub const THROWN_KEPT_MAX: usize = 100_000;

/// How long after its start a full replica first looks at what it keeps: the first moments belong
/// to the scan of the folder; by eye.
pub const TRASH_FIRST_LOOK: Duration = Duration::from_secs(10);

/// How often it does after that: the work is a listing, and nobody minds an hour of thirty days; by
/// eye.
pub const TRASH_LOOK: Duration = Duration::from_secs(3_600);

/// Things that are removed from the trash by one job: others wait for the disk meanwhile; by eye.
pub const EMPTIED_AT_ONCE_MAX: usize = 256;

/// Names that are tried for a thing that is brought back, its own included; by eye.
pub const RESTORE_NAMES_MAX: u32 = 16;

/// Directories above a node that is gone, of which its path is made: as many names as a path of
/// 4,096 bytes has at most, with slashes.
pub const STEPS_UP_MAX: usize = 2_048;
