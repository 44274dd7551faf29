//! Bounds of the network shell, each with the reason for its number. Those that the core knows
//! too are in `tandem_core::limits`.

use std::time::Duration;

use tandem_core::limits::{LANE_FILES_MAX, LANES};

/// How long a dialling may take, all addresses together: by eye, some round trips of the worst
/// link and a lost packet in each.
pub(super) const DIAL_DEADLINE: Duration = Duration::from_secs(10);

/// How long one address may be silent before the next is tried beside it: RFC 8305 recommends
/// 250 ms and allows 100 ms to 2 s.
pub(super) const DIAL_STAGGER: Duration = Duration::from_millis(200);

/// Addresses taken from one name: more would only be tried after the deadline.
pub(super) const NAME_ADDRESSES_MAX: usize = 8;

/// How long a peer that was dialled may take to open its side of the control stream.
pub(super) const OPEN_DEADLINE: Duration = Duration::from_secs(10);

/// How long a link that is being closed may take to get rid of what was said on it.
pub(super) const CLOSE_DEADLINE: Duration = Duration::from_secs(3);

/// Frames that may wait in the queue of a link before its peer is not listened to: the batches,
/// acknowledgements and heartbeats of an honest one that stalls are some twenty; by eye.
pub(super) const SAID_MAX: usize = 64;

/// How long a lane that broke waits for its link to end as well, in which case the link's end is
/// all that is said: both are told within one turn of the connection's task.
pub(super) const LANE_GRACE: Duration = Duration::from_millis(50);

/// HTTP/2's frame size in bytes, which the receiver sets: 256 KiB is a tenth slower, 16 KiB (the
/// default) a third.
pub(super) const HTTP_FRAME: u32 = 1024 * 1024;

/// What one stream may have in flight, in bytes: 32 chunks.
pub(super) const STREAM_WINDOW: u32 = 16 * 1024 * 1024;

/// What a connection may have in flight towards the side that dialled, in bytes: at 300 ms round
/// trip it allows 200 MiB/s.
pub(super) const DIALLER_WINDOW: u32 = 64 * 1024 * 1024;

/// What a connection may have in flight towards the side that listens, in bytes: it takes
/// registers and asks, and must bear strangers.
pub(super) const LISTENER_WINDOW: u32 = 32 * 1024 * 1024;

/// What a stream buffers for sending, in bytes: a chunk and what stands around it.
pub(super) const SEND_BUFFER: usize = 1024 * 1024;

/// Streams of one connection: the lanes of all files that may be read at once, as many again that
/// are being closed, those that the dialling side serves, and the control stream.
pub(super) const STREAMS_MAX: u32 = {
    #[expect(clippy::cast_possible_truncation, reason = "it is 64")]
    let files = LANE_FILES_MAX as u32;
    2 * files * LANES + LANES + 8
};

/// Bytes of the headers of one request: ours have some 300.
pub(super) const HEADERS_MAX: u32 = 8 * 1024;

/// Connections that wait to be accepted: what Linux allows by default is 4,096.
pub(super) const BACKLOG: i32 = 256;
