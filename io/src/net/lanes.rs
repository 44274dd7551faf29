//! Lanes on which we ask: streams of a file that is being read.
//!
//! Law: a file's lanes are opened together and end together. Every fetch that is put on one ends
//! with one `Event::Fetched`, or with the link. Replies are matched by number, may come in any
//! order, and are never longer than what was asked for.
//!
//! On a link that was accepted the peer opens lanes for us (`Serve`), for all files together, since
//! only the side that dialled can open streams; what is asked before the first is there waits for
//! it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use tandem_core::event::{Event, Fetched};
use tandem_core::ids::{ChunkHash, FetchId, NodeId};
use tandem_core::limits::LANES;
use tandem_core::message::Want;
use tandem_proto::codec::is_garbled;
use tandem_proto::lane::{LaneAnswer, LaneAsk, LaneReply};
use tandem_proto::v1;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::bounds::LANE_GRACE;
use super::client::Client;
use super::link::Link;
use super::{Shared, lock};

/// The lanes of a link.
pub(super) struct Lanes {
    /// Set when the connection is there; never on a link that was accepted.
    client: OnceLock<Client>,
    files: Mutex<BTreeMap<NodeId, Arc<FileLanes>>>,
    /// Those that the peer opens for us, on a link that was accepted.
    served: Arc<FileLanes>,
    /// What is to be asked on the first of them; nothing waits once it is there.
    early: Mutex<Option<Vec<(usize, Want, Fetch)>>>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            client: OnceLock::new(),
            files: Mutex::default(),
            served: Arc::new(FileLanes::closed()),
            early: Mutex::new(Some(Vec::new())),
        }
    }
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fetch {
    pub(super) id: FetchId,
    /// How many bytes it has at most.
    pub(super) len: u32,
}

/// The lanes of one file.
struct FileLanes {
    lanes: Vec<Mutex<Lane>>,
    /// One of them broke, so all end.
    broken: CancellationToken,
}

/// One lane: what is asked on it and not answered.
struct Lane {
    /// Nothing once it is closed.
    out: Option<UnboundedSender<v1::LaneRequest>>,
    /// Whether it ever was open.
    was_open: bool,
    next: u64,
    waiting: BTreeMap<u64, Fetch>,
}

impl Lanes {
    /// Makes lanes possible.
    pub(super) fn ready(&self, client: Client) {
        // A link is connected once.
        let _ = self.client.set(client);
    }

    /// Asks on one of the lanes that the peer serves, or has it wait for the first of them; tells
    /// whether either was possible.
    fn ask_served(&self, lane: usize, want: Want, fetch: Fetch) -> bool {
        // Under the lock, so that nothing comes to wait when the first lane has just come.
        let mut early = lock(&self.early);
        if let Some(early) = &mut *early {
            early.push((lane, want, fetch));
            return true;
        }
        let count = self.served.lanes.len();
        (0..count).any(|n| self.served.ask((lane + n) % count, want, fetch))
    }

    /// Closes a file's lanes once what was asked on them is answered.
    pub(super) fn close(&self, node: NodeId) {
        if let Some(file) = lock(&self.files).remove(&node) {
            for lane in &file.lanes {
                lock(lane).out = None;
            }
        }
    }
}

/// Asks for a chunk; opens the file's lanes if they are not.
pub(super) fn fetch(shared: &Arc<Shared>, link: &Arc<Link>, lane: u32, want: Want, fetch: Fetch) {
    assert!(lane < LANES, "lane {lane} of {LANES}");
    let lane = lane as usize;
    let node = want.object.node;
    let mut files = lock(&link.lanes.files);
    if files
        .get(&node)
        .is_some_and(|file| file.ask(lane, want, fetch))
    {
        return;
    }
    let Some(client) = link.lanes.client.get() else {
        drop(files);
        if !link.lanes.ask_served(lane, want, fetch) {
            tracing::debug!(link = %link.id, "the peer has closed the lanes that it serves");
            let (shared, link) = (Arc::clone(shared), Arc::clone(link));
            // From a task, so that the caller never finds itself in the sink.
            Arc::clone(&shared).spawn(async move {
                shared.tell(&link, failed(fetch));
            });
        }
        return;
    };
    let (file, requests) = FileLanes::new();
    assert!(file.ask(lane, want, fetch), "a new lane takes asks");
    for (lane, requests) in requests.into_iter().enumerate() {
        let running = Running {
            shared: Arc::clone(shared),
            link: Arc::clone(link),
            file: Arc::clone(&file),
            lane,
        };
        let run = running.run(client.clone(), requests);
        link.tasks.spawn_on(run, &shared.runtime);
    }
    files.insert(node, file);
}

/// Takes in a lane that the peer opened for us; returns what is asked on it. The engine bounds
/// what that can be. A lane too many is refused.
pub(super) fn served(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    replies: Streaming<v1::LaneReply>,
) -> Result<UnboundedReceiver<v1::LaneRequest>, Status> {
    // The token first: a link that ends waits for it, or has ended by now.
    let token = link.tasks.token();
    if link.stop.is_cancelled() {
        return Err(Status::unavailable("the link is ending"));
    }
    let file = &link.lanes.served;
    let (out, requests) = unbounded_channel();
    let is_new = |lane: &Mutex<Lane>| {
        let mut lane = lock(lane);
        let is_new = !std::mem::replace(&mut lane.was_open, true);
        if is_new {
            lane.out = Some(out.clone());
        }
        is_new
    };
    let Some(lane) = file.lanes.iter().position(is_new) else {
        return Err(Status::resource_exhausted("more lanes than there may be"));
    };
    let running = Running {
        shared: Arc::clone(shared),
        link: Arc::clone(link),
        file: Arc::clone(file),
        lane,
    };
    tokio::spawn(async move {
        let _token = token;
        running.hear_out(replies).await;
    });
    let early = lock(&link.lanes.early).take();
    for (_, want, fetch) in early.into_iter().flatten() {
        assert!(file.ask(lane, want, fetch), "a new lane takes asks");
    }
    Ok(requests)
}

impl FileLanes {
    /// Returns lanes on which nothing can be asked yet.
    fn closed() -> Self {
        let lane = || {
            Mutex::new(Lane {
                out: None,
                was_open: false,
                next: 0,
                waiting: BTreeMap::new(),
            })
        };
        Self {
            lanes: (0..LANES).map(|_| lane()).collect(),
            broken: CancellationToken::new(),
        }
    }

    fn new() -> (Arc<Self>, Vec<UnboundedReceiver<v1::LaneRequest>>) {
        let (lanes, requests) = (0..LANES)
            .map(|_| {
                let (out, requests) = unbounded_channel();
                let lane = Lane {
                    out: Some(out),
                    was_open: true,
                    next: 0,
                    waiting: BTreeMap::new(),
                };
                (Mutex::new(lane), requests)
            })
            .unzip();
        let broken = CancellationToken::new();
        (Arc::new(Self { lanes, broken }), requests)
    }

    /// Asks on a lane; tells whether that was possible.
    fn ask(&self, lane: usize, want: Want, fetch: Fetch) -> bool {
        let mut lane = lock(&self.lanes[lane]);
        let request = lane.next;
        let Some(out) = &lane.out else { return false };
        let ask = LaneAsk {
            request,
            want,
            len: fetch.len,
        };
        if out.send(ask.into()).is_err() {
            return false;
        }
        lane.next += 1;
        lane.waiting.insert(request, fetch);
        true
    }
}

fn failed(fetch: Fetch) -> Event {
    Event::Fetched {
        fetch: fetch.id,
        outcome: Fetched::Failed,
    }
}

/// A lane's task.
struct Running {
    shared: Arc<Shared>,
    link: Arc<Link>,
    file: Arc<FileLanes>,
    lane: usize,
}

impl Running {
    /// Asks on a lane of ours to its end.
    async fn run(self, client: Client, requests: UnboundedReceiver<v1::LaneRequest>) {
        let converse = self.converse(client, requests);
        self.until_over(converse).await;
    }

    /// Hears the replies on a lane that the peer serves, to its end.
    async fn hear_out(self, replies: Streaming<v1::LaneReply>) {
        self.until_over(self.hear_all(replies)).await;
    }

    /// Lets a conversation take its course; then whoever still waits is told.
    async fn until_over(&self, conversation: impl Future<Output = ()>) {
        tokio::select! {
            biased;
            () = self.link.stop.cancelled() => return,
            () = self.file.broken.cancelled() => {}
            () = conversation => {}
        }
        let waiting = {
            let mut lane = lock(&self.file.lanes[self.lane]);
            if lane.out.take().is_some() {
                // Nobody closed it, so it broke.
                self.file.broken.cancel();
            }
            std::mem::take(&mut lane.waiting)
        };
        if waiting.is_empty()
            || timeout(LANE_GRACE, self.link.stop.cancelled())
                .await
                .is_ok()
        {
            return;
        }
        for fetch in waiting.into_values() {
            self.shared.tell(&self.link, failed(fetch));
        }
    }

    /// Asks what comes out of `requests`, hears the replies to their end.
    async fn converse(&self, mut client: Client, requests: UnboundedReceiver<v1::LaneRequest>) {
        let opened = client.lane(UnboundedReceiverStream::new(requests)).await;
        match opened {
            Ok(response) => self.hear_all(response.into_inner()).await,
            Err(status) => self.broke(&status),
        }
    }

    /// Hears replies until there are no more.
    async fn hear_all(&self, mut replies: Streaming<v1::LaneReply>) {
        loop {
            match replies.message().await {
                Ok(Some(reply)) => {
                    if !self.hear(reply) {
                        return;
                    }
                }
                Ok(None) => return,
                Err(status) => return self.broke(&status),
            }
        }
    }

    fn broke(&self, ended: &Status) {
        if is_garbled(ended) {
            self.link.garble(ended);
        } else {
            tracing::debug!(link = %self.link.id, "a lane broke: {ended}");
        }
    }

    /// Takes a reply; tells whether to go on.
    fn hear(&self, reply: v1::LaneReply) -> bool {
        if self.link.is_closed() {
            return false;
        }
        let answer = match LaneAnswer::try_from(reply) {
            Ok(answer) => answer,
            Err(error) => {
                self.link.garble(&error);
                return false;
            }
        };
        let asked = lock(&self.file.lanes[self.lane])
            .waiting
            .remove(&answer.request);
        let Some(fetch) = asked else {
            self.link.garble(&"an answer that nobody asked for");
            return false;
        };
        let outcome = match answer.reply {
            LaneReply::Data { hash, data } => match u32::try_from(data.len()) {
                Ok(len) if len <= fetch.len => Fetched::Data {
                    len,
                    computed: ChunkHash::of(&data),
                    recorded: hash,
                    payload: self.shared.payloads.put(data),
                },
                Ok(_) | Err(_) => {
                    self.link.garble(&"a chunk longer than was asked for");
                    return false;
                }
            },
            LaneReply::Tail { hash, data } => match u32::try_from(data.len()) {
                Ok(len) if len <= fetch.len => Fetched::Tail {
                    len,
                    recorded: hash,
                    payload: self.shared.payloads.put(data),
                },
                Ok(_) | Err(_) => {
                    self.link.garble(&"a chunk's end longer than was asked for");
                    return false;
                }
            },
            LaneReply::Same => Fetched::Same,
            LaneReply::Hole => Fetched::Hole {
                zeros: zeros(fetch.len),
            },
            LaneReply::Gone => Fetched::Gone,
            LaneReply::NotHeld => Fetched::NotHeld,
            LaneReply::Failed => Fetched::Failed,
        };
        let fetch = fetch.id;
        self.shared.sink.event(Event::Fetched { fetch, outcome });
        true
    }
}

/// Returns the hash of so many zeros. A sparse file asks for one length, over and over.
fn zeros(len: u32) -> ChunkHash {
    static LAST: Mutex<Option<(u32, ChunkHash)>> = Mutex::new(None);
    let mut last = lock(&LAST);
    match *last {
        Some((known, hash)) if known == len => hash,
        Some(_) | None => {
            let hash = ChunkHash::of(&vec![0; len as usize]);
            *last = Some((len, hash));
            hash
        }
    }
}
