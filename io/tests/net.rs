//! Two network shells on loopback: the real TCP, TLS, HTTP/2 and gRPC, and in place of the engine
//! a test that looks at the events.
#![expect(clippy::unwrap_used, reason = "what a test can't make stops the test")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "any event but the one that is expected fails the test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tandem_core::event::{Event, Fetched, LinkDown};
use tandem_core::ids::{
    ActorId, Arrival, AskId, ChunkHash, ChunkIx, Dot, FetchId, Lamport, LinkId, NodeId, ObjectId,
    PeerId,
};
use tandem_core::label::Label;
use tandem_core::limits::{ASKS_PER_LINK_MAX, BATCH_REGISTERS_MAX, GREETING_MAX, LANES};
use tandem_core::message::{Answer, Batch, Hello, Message, PROTOCOL, Refusal, Role, Secret, Want};
use tandem_core::time::WallTime;
use tandem_core::tree::name::TargetPath;
use tandem_core::tree::register::{Body, Content, Register, Stamp};
use tandem_io::net::address::Address;
use tandem_io::net::identity::Identity;
use tandem_io::net::transport::{BoxBytes, Brought, Listener, Tcp, Transport};
use tandem_io::net::{Net, NetConfig, NetError};
use tandem_io::payload::Payloads;
use tandem_io::sink::Sink;
use tandem_proto::v1;
use tandem_proto::v1::tandem_client::TandemClient;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt as _;
use tonic::Code;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response, Uri};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The link that a test dials, unless it dials several.
const LINK: LinkId = LinkId(2);

struct Ear(UnboundedSender<Event>);

impl Sink for Ear {
    fn event(&self, event: Event) {
        // The test may have ended.
        let _ = self.0.send(event);
    }
}

/// A network shell, and what it said.
struct Node {
    net: Net,
    peer: PeerId,
    payloads: Arc<Payloads>,
    events: UnboundedReceiver<Event>,
}

impl Node {
    fn start(listen: &[&str], addresses: BTreeMap<PeerId, Vec<Address>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_make(directory.path()).unwrap();
        let peer = identity.peer();
        let (said, events) = unbounded_channel();
        let payloads = Arc::new(Payloads::default());
        let config = NetConfig {
            identity,
            listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
            addresses,
        };
        let sink = Arc::new(Ear(said));
        let net = Net::start(config, sink, Arc::clone(&payloads), Handle::current());
        Self {
            net: net.unwrap(),
            peer,
            payloads,
            events,
        }
    }

    /// One that is dialled.
    fn host() -> Self {
        Self::start(&["127.0.0.1:0"], BTreeMap::new())
    }

    /// One that can dial `host`.
    fn joiner(host: &Self) -> Self {
        Self::knowing(host.peer, vec![host.address()])
    }

    fn knowing(peer: PeerId, addresses: Vec<Address>) -> Self {
        Self::start(&[], BTreeMap::from([(peer, addresses)]))
    }

    fn socket(&self) -> SocketAddr {
        self.net.listening()[0]
    }

    fn address(&self) -> Address {
        self.socket().into()
    }

    async fn next(&mut self) -> Event {
        timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event was expected")
            .unwrap()
    }

    async fn hears(&mut self, on: LinkId) -> Message {
        match self.next().await {
            Event::Said { link, message } if link == on => message,
            other => panic!("{other:?}"),
        }
    }

    async fn is_accepted(&mut self, by: PeerId) -> LinkId {
        match self.next().await {
            Event::Accepted { link, peer } if peer == by => link,
            other => panic!("{other:?}"),
        }
    }

    async fn is_down(&mut self, on: LinkId) -> LinkDown {
        match self.next().await {
            Event::LinkDown { link, why } if link == on => why,
            other => panic!("{other:?}"),
        }
    }

    async fn is_asked(&mut self, on: LinkId) -> (AskId, Want) {
        match self.next().await {
            Event::Asked {
                link, ask, want, ..
            } if link == on => (ask, want),
            other => panic!("{other:?}"),
        }
    }

    async fn fetched(&mut self) -> (FetchId, Fetched) {
        match self.next().await {
            Event::Fetched { fetch, outcome } => (fetch, outcome),
            other => panic!("{other:?}"),
        }
    }

    /// Dials and waits; returns the other side's name for the link.
    async fn meet(&mut self, host: &mut Self, link: LinkId) -> LinkId {
        self.net.dial(link, host.peer);
        match self.next().await {
            Event::Dialled { link: dialled } if dialled == link => {}
            other => panic!("{other:?}"),
        }
        let accepted = host.is_accepted(self.peer).await;
        assert_eq!(accepted.0 % 2, 1, "accepted links are odd");
        accepted
    }

    fn is_silent(&mut self) {
        if let Ok(event) = self.events.try_recv() {
            panic!("{event:?}");
        }
    }

    async fn stop(&mut self) {
        self.net.shutdown();
        timeout(PATIENCE, self.net.closed()).await.unwrap();
    }
}

async fn pair() -> (Node, Node, LinkId) {
    let mut host = Node::host();
    let mut joiner = Node::joiner(&host);
    let link = joiner.meet(&mut host, LINK).await;
    (host, joiner, link)
}

fn dot(counter: u64) -> Dot {
    Dot {
        actor: ActorId(7),
        counter,
    }
}

fn want(node: u64, chunk: u32) -> Want {
    Want {
        object: ObjectId {
            node: NodeId(dot(node)),
            version: dot(node + 1),
        },
        chunk: ChunkIx(chunk),
        have: None,
    }
}

/// A batch of symlinks whose targets have `len` bytes.
fn batch(upto: u64, count: usize, len: usize) -> Message {
    let target = TargetPath::parse(&vec![b'x'; len]).unwrap();
    let register = Register::Content(Content {
        node: NodeId(dot(1)),
        stamp: Stamp {
            lamport: Lamport(1),
            dot: dot(1),
        },
        context: [].into_iter().collect(),
        beside: vec![],
        author: Label::parse("ada").unwrap(),
        day: 1,
        mtime: WallTime::default(),
        body: Body::Link { target },
        base: None,
        changed: None,
    });
    Message::Registers(Batch {
        upto: Arrival(upto),
        registers: vec![register; count],
        knowledge: Some([(ActorId(7), upto)].into_iter().collect()),
    })
}

fn every_kind() -> Vec<Message> {
    vec![
        Message::Hello(Hello {
            protocol: PROTOCOL,
            folder: None,
            role: Role::Sparse,
            name: Label::parse("bo").unwrap(),
            secret: Some(Secret([5; 32])),
            session: 1,
            actor: ActorId(7),
            epoch: 2,
            knowledge: [(ActorId(7), 3)].into_iter().collect(),
            cursor: None,
            takes_changes: true,
            pushes: false,
        }),
        Message::Refused(Refusal::NotPaired),
        batch(9, 3, 10),
        Message::Ack(Arrival(4)),
        Message::Ping,
        Message::Pong,
        Message::Bye,
    ]
}

/// The bytes of a chunk, which no other has.
fn chunk_bytes(want: Want, len: usize) -> Bytes {
    let seed = want.object.node.0.counter * 1_000 + u64::from(want.chunk.0);
    (0u64..)
        .flat_map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed).to_le_bytes())
        .take(len)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_message_goes_both_ways_in_order() {
    let (mut host, mut joiner, link) = pair().await;
    for message in every_kind() {
        joiner.net.send(LINK, message.clone());
        host.net.send(link, message);
    }
    for message in every_kind() {
        assert_eq!(host.hears(link).await, message);
        assert_eq!(joiner.hears(LINK).await, message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_flushes_what_was_said_and_only_the_other_side_hears_of_it() {
    for host_closes in [false, true] {
        let (mut host, mut joiner, link) = pair().await;
        let (closer, on, hearer, at) = if host_closes {
            (&mut host, link, &mut joiner, LINK)
        } else {
            (&mut joiner, LINK, &mut host, link)
        };
        // 20 MiB: more than a stream's window holds.
        for upto in 1..=40 {
            closer.net.send(on, batch(upto, 128, 4_000));
        }
        closer.net.send(on, Message::Refused(Refusal::Busy));
        closer.net.close(on);
        closer.net.send(on, Message::Ping);
        for upto in 1..=40 {
            assert_eq!(hearer.hears(at).await, batch(upto, 128, 4_000));
        }
        assert_eq!(hearer.hears(at).await, Message::Refused(Refusal::Busy));
        assert_eq!(hearer.is_down(at).await, LinkDown::Lost);
        closer.stop().await;
        closer.is_silent();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shutting_down_says_what_was_to_be_said() {
    let (mut host, mut joiner, link) = pair().await;
    host.net.send(link, Message::Bye);
    host.stop().await;
    assert_eq!(joiner.hears(LINK).await, Message::Bye);
    assert_eq!(joiner.is_down(LINK).await, LinkDown::Lost);
    host.is_silent();
    // Nobody listens any more.
    assert!(TcpStream::connect(host.socket()).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_carry_chunks_side_by_side_in_any_order() {
    const LEN: u32 = 512 * 1024;
    const CHUNKS: u32 = 24;
    let (mut host, mut joiner, link) = pair().await;
    let mut wants = BTreeMap::new();
    for node in [1, 5] {
        for chunk in 0..CHUNKS {
            let fetch = FetchId(node * 100 + u64::from(chunk));
            let want = want(node, chunk);
            wants.insert(fetch, want);
            joiner.net.fetch(fetch, LINK, chunk % LANES, want, LEN);
        }
    }
    let mut asks = Vec::new();
    for _ in 0..wants.len() {
        asks.push(host.is_asked(link).await);
    }
    let asked: BTreeSet<_> = asks.iter().map(|(_, want)| *want).collect();
    assert_eq!(asked, wants.values().copied().collect());
    for (ask, want) in asks.into_iter().rev() {
        let answer = Answer::Data {
            hash: ChunkHash(u128::from(want.chunk.0)),
            payload: host.payloads.put(chunk_bytes(want, LEN as usize)),
        };
        host.net.answer(ask, answer);
    }
    for _ in 0..wants.len() {
        let (fetch, outcome) = joiner.fetched().await;
        let want = wants.remove(&fetch).unwrap();
        let Fetched::Data {
            payload,
            len,
            computed,
            recorded,
        } = outcome
        else {
            panic!("{outcome:?}");
        };
        let data = chunk_bytes(want, LEN as usize);
        assert_eq!(len, LEN);
        assert_eq!(computed, ChunkHash::of(&data));
        assert_eq!(recorded, ChunkHash(u128::from(want.chunk.0)));
        assert_eq!(joiner.payloads.take(payload), Some(data));
    }
    assert!(host.payloads.is_empty() && joiner.payloads.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_arrives_as_it_was_given() {
    let (mut host, mut joiner, link) = pair().await;
    for (fetch, answer, outcome) in [
        (FetchId(1), Answer::Gone, Fetched::Gone),
        (FetchId(2), Answer::NotHeld, Fetched::NotHeld),
        (FetchId(3), Answer::Failed, Fetched::Failed),
    ] {
        joiner.net.fetch(fetch, LINK, 0, want(1, 0), 1);
        let (ask, asked) = host.is_asked(link).await;
        assert_eq!(asked, want(1, 0));
        host.net.answer(ask, answer);
        assert_eq!(joiner.fetched().await, (fetch, outcome));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_that_are_closed_answer_what_was_asked_and_open_again() {
    let (mut host, mut joiner, link) = pair().await;
    for round in 0..3 {
        joiner.net.fetch(FetchId(round), LINK, 1, want(1, 1), 10);
        let (ask, _) = host.is_asked(link).await;
        joiner.net.close_lanes(LINK, NodeId(dot(1)));
        host.net.answer(ask, Answer::Gone);
        assert_eq!(joiner.fetched().await, (FetchId(round), Fetched::Gone));
    }
}

/// What a joiner wrote its host can only ask for on lanes that the joiner opens, and it may want
/// to before they are there.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_asks_a_peer_that_dialled() {
    let (mut host, mut joiner, link) = pair().await;
    for n in 0..40_u32 {
        let fetch = FetchId(n.into());
        host.net.fetch(fetch, link, n % LANES, want(1, n), 10);
    }
    let mut asks = Vec::new();
    for _ in 0..40 {
        asks.push(joiner.is_asked(LINK).await);
    }
    for (ask, want) in asks.into_iter().rev() {
        let answer = Answer::Data {
            hash: ChunkHash(u128::from(want.chunk.0)),
            payload: joiner.payloads.put(chunk_bytes(want, 10)),
        };
        joiner.net.answer(ask, answer);
    }
    for _ in 0..40 {
        let (fetch, outcome) = host.fetched().await;
        let chunk = u32::try_from(fetch.0).unwrap();
        let Fetched::Data { payload, .. } = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(
            host.payloads.take(payload),
            Some(chunk_bytes(want(1, chunk), 10))
        );
    }
    drop(joiner);
    host.net.fetch(FetchId(50), link, 0, want(1, 0), 10);
    // It fails with its lane or with the link, and does not wait for ever.
    loop {
        match host.next().await {
            Event::LinkDown { .. } => break,
            Event::Fetched {
                outcome: Fetched::Failed,
                ..
            } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_vanishes_takes_its_link_and_all_fetches_along() {
    let (mut host, mut joiner, link) = pair().await;
    for n in 0..20 {
        joiner.net.fetch(FetchId(n), LINK, 0, want(1, 0), 100);
    }
    for _ in 0..20 {
        host.is_asked(link).await;
    }
    drop(host);
    // Fetches may fail with their lane before the link does, never after it.
    let why = loop {
        match joiner.next().await {
            Event::LinkDown { link: LINK, why } => break why,
            Event::Fetched {
                outcome: Fetched::Failed,
                ..
            } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(why, LinkDown::Lost);
    // On a link that is gone nothing happens, and nothing more is heard of it.
    joiner.net.fetch(FetchId(20), LINK, 0, want(1, 0), 100);
    joiner.net.send(LINK, Message::Ping);
    joiner.net.close(LINK);
    joiner.stop().await;
    joiner.is_silent();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_for_a_link_that_is_gone_uses_its_payload_up() {
    let (mut host, joiner, link) = pair().await;
    joiner.net.fetch(FetchId(1), LINK, 0, want(1, 0), 100);
    let (ask, _) = host.is_asked(link).await;
    drop(joiner);
    assert_eq!(host.is_down(link).await, LinkDown::Lost);
    let answer = Answer::Data {
        hash: ChunkHash(1),
        payload: host.payloads.put(Bytes::from_static(b"late")),
    };
    host.net.answer(ask, answer);
    assert!(host.payloads.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_asks_too_much_is_not_read_from_s31() {
    let (mut host, mut joiner, link) = pair().await;
    let many = ASKS_PER_LINK_MAX as u64 + 40;
    for n in 0..many {
        joiner.net.fetch(FetchId(n), LINK, 0, want(1, 0), 100);
    }
    let mut asks = Vec::new();
    for _ in 0..ASKS_PER_LINK_MAX {
        asks.push(host.is_asked(link).await.0);
    }
    // Control goes on meanwhile.
    joiner.net.send(LINK, Message::Ping);
    assert_eq!(host.hears(link).await, Message::Ping);
    host.is_silent();
    for _ in ASKS_PER_LINK_MAX as u64..many {
        host.net.answer(asks.pop().unwrap(), Answer::NotHeld);
        asks.push(host.is_asked(link).await.0);
        joiner.fetched().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_beyond_its_bounds_ends_the_link_s31() {
    // Too many registers; and too many bytes, which are not even gathered.
    for bad in [
        batch(1, BATCH_REGISTERS_MAX + 1, 1),
        batch(1, BATCH_REGISTERS_MAX, 4_000),
    ] {
        let (mut host, mut joiner, link) = pair().await;
        joiner.net.send(LINK, bad.clone());
        assert_eq!(host.is_down(link).await, LinkDown::Garbled);
        assert_eq!(joiner.is_down(LINK).await, LinkDown::Lost);

        let (mut host, mut joiner, link) = pair().await;
        host.net.send(link, bad);
        assert_eq!(joiner.is_down(LINK).await, LinkDown::Garbled);
        assert_eq!(host.is_down(link).await, LinkDown::Lost);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_longer_than_was_asked_for_ends_the_link_s31() {
    for len in [11, 17 * 1024 * 1024] {
        let (mut host, mut joiner, link) = pair().await;
        joiner.net.fetch(FetchId(1), LINK, 0, want(1, 0), 10);
        let (ask, _) = host.is_asked(link).await;
        let answer = Answer::Data {
            hash: ChunkHash(1),
            payload: host.payloads.put(vec![0; len].into()),
        };
        host.net.answer(ask, answer);
        assert_eq!(joiner.is_down(LINK).await, LinkDown::Garbled);
        assert!(joiner.payloads.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_is_not_spoken_to_s33() {
    let mut host = Node::host();
    let other = PeerId([9; 32]);
    let mut joiner = Node::knowing(other, vec![host.address()]);
    joiner.net.dial(LINK, other);
    assert_eq!(joiner.is_down(LINK).await, LinkDown::WrongKey);
    host.is_silent();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_said_at_once() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap().into();
    drop(closed);
    let peer = PeerId([9; 32]);
    let mut joiner = Node::knowing(peer, vec![address]);
    joiner.net.dial(LINK, peer);
    assert_eq!(joiner.is_down(LINK).await, LinkDown::Unreachable);
    // And of a peer without any address.
    joiner.net.dial(LinkId(4), PeerId([8; 32]));
    assert_eq!(joiner.is_down(LinkId(4)).await, LinkDown::Unreachable);
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_lead_nowhere_do_not_keep_from_the_one_that_does_s23() {
    let mut host = Node::host();
    let other = Node::host();
    // One that takes connections and says nothing, for longer than a dialling lasts.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = vec![
        silent.local_addr().unwrap().into(),
        // RFC 5737: nobody has it.
        "192.0.2.1:9".parse().unwrap(),
        "no-such-host.invalid:9".parse().unwrap(),
        other.address(),
        "127.0.0.1:1".parse().unwrap(),
        format!("localhost:{}", host.socket().port())
            .parse()
            .unwrap(),
    ];
    let mut joiner = Node::knowing(host.peer, addresses);
    let link = joiner.meet(&mut host, LINK).await;
    joiner.net.send(LINK, Message::Ping);
    assert_eq!(host.hears(link).await, Message::Ping);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialling_can_be_closed() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = PeerId([9; 32]);
    let mut joiner = Node::knowing(peer, vec![silent.local_addr().unwrap().into()]);
    joiner.net.dial(LINK, peer);
    joiner.net.close(LINK);
    joiner.stop().await;
    joiner.is_silent();
}

#[tokio::test(flavor = "multi_thread")]
async fn links_come_and_go_s21() {
    let mut host = Node::host();
    let mut joiner = Node::joiner(&host);
    for n in 1..=100 {
        let dialled = LinkId(2 * n);
        let link = joiner.meet(&mut host, dialled).await;
        joiner.net.send(dialled, Message::Ack(Arrival(n)));
        assert_eq!(host.hears(link).await, Message::Ack(Arrival(n)));
        if n % 2 == 0 {
            joiner.net.close(dialled);
            assert_eq!(host.is_down(link).await, LinkDown::Lost);
        } else {
            host.net.close(link);
            assert_eq!(joiner.is_down(dialled).await, LinkDown::Lost);
        }
    }
    host.is_silent();
    joiner.is_silent();
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_port_does_no_harm_s31() {
    let mut host = Node::host();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x16\x03\x01\xff\xff",
        &[0xff; 100_000],
        b"",
    ] {
        let mut stream = TcpStream::connect(host.socket()).await.unwrap();
        // The other side may hang up in the middle.
        let _ = stream.write_all(garbage).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .unwrap();
    }
    let mut joiner = Node::joiner(&host);
    joiner.meet(&mut host, LINK).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_few_and_make_room_when_they_go() {
    let mut host = Node::host();
    let mut strangers = Vec::new();
    for _ in 0..GREETING_MAX {
        strangers.push(TcpStream::connect(host.socket()).await.unwrap());
    }
    let mut joiner = Node::joiner(&host);
    joiner.net.dial(LINK, host.peer);
    assert_eq!(joiner.is_down(LINK).await, LinkDown::Unreachable);
    host.is_silent();

    drop(strangers);
    // Their places come free when the host has seen them go.
    let mut link = LINK;
    loop {
        link = LinkId(link.0 + 2);
        joiner.net.dial(link, host.peer);
        match joiner.next().await {
            Event::LinkDown { .. } => tokio::task::yield_now().await,
            Event::Dialled { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    host.is_accepted(joiner.peer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_can_not_be_had_is_named() {
    let host = Node::host();
    let directory = tempfile::tempdir().unwrap();
    let (said, _events) = unbounded_channel();
    let start = |address: SocketAddr| {
        let config = NetConfig {
            identity: Identity::load_or_make(directory.path()).unwrap(),
            listen: vec![address],
            addresses: BTreeMap::new(),
        };
        let sink = Arc::new(Ear(said.clone()));
        Net::start(config, sink, Arc::default(), Handle::current())
    };
    let error = start(host.socket()).unwrap_err();
    assert!(matches!(error, NetError::InUse(_)), "{error:?}");
    assert!(error.to_string().contains("--listen"), "{error}");
    let error = start("192.0.2.1:0".parse().unwrap()).unwrap_err();
    assert!(matches!(error, NetError::NotHere(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_listens_on_both_families_is_reached_by_the_older() {
    let mut host = Node::start(&["[::]:0"], BTreeMap::new());
    let port = host.socket().port();
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let mut joiner = Node::knowing(host.peer, vec![address]);
    joiner.meet(&mut host, LINK).await;
}

/// Believes anybody.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[derive(Clone)]
struct Stranger(SendRequest<tonic::body::Body>);

impl Service<Request<tonic::body::Body>> for Stranger {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// Connects as somebody who follows no rules, with or without a certificate.
async fn stranger(host: &Node, certificate: bool) -> TandemClient<Stranger> {
    let client = stranger_at(host.socket(), certificate, 65_535).await;
    client.expect("whoever connects gets as far as its handshake")
}

/// Connects so, and takes at most `window` bytes of each stream; `None` if it is hung up on.
async fn stranger_at(
    host: SocketAddr,
    certificate: bool,
    window: u32,
) -> Option<TandemClient<Stranger>> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible));
    let mut config = if certificate {
        let made = rcgen::generate_simple_self_signed(Vec::new()).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        config
            .with_client_auth_cert(vec![made.cert.der().clone()], key.into())
            .unwrap()
    } else {
        config.with_no_client_auth()
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(host).await.unwrap();
    let name = ServerName::try_from("anything").unwrap();
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .ok()?;
    let (requests, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(stream))
        .await
        .ok()?;
    tokio::spawn(connection);
    let origin = Uri::from_static("https://x");
    Some(TandemClient::with_origin(Stranger(requests), origin))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_nothing_is_answered_s33() {
    let mut host = Node::host();
    let mut nobody = stranger(&host, false).await;
    let frames = tokio_stream::once(v1::Frame::from(&Message::Ping));
    let answer = timeout(PATIENCE, nobody.control(frames)).await.unwrap();
    assert!(answer.is_err());
    host.is_silent();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_stands_beside_one_control_stream_s33() {
    let mut host = Node::host();
    let mut somebody = stranger(&host, true).await;
    let ask = || tokio_stream::once(v1::LaneRequest::default());
    let answer = timeout(PATIENCE, somebody.lane(ask())).await.unwrap();
    assert_eq!(answer.unwrap_err().code(), Code::FailedPrecondition);
    host.is_silent();

    let frames = tokio_stream::pending::<v1::Frame>;
    let control = timeout(PATIENCE, somebody.control(frames())).await.unwrap();
    let _control = control.unwrap();
    let Event::Accepted { link, .. } = host.next().await else {
        panic!("it was not accepted");
    };
    let again = timeout(PATIENCE, somebody.control(frames())).await.unwrap();
    assert_eq!(again.unwrap_err().code(), Code::AlreadyExists);

    // An ask that says nothing breaks the protocol, and the link with it.
    let _answers = timeout(PATIENCE, somebody.lane(ask())).await.unwrap();
    assert_eq!(host.is_down(link).await, LinkDown::Garbled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_an_unknown_kind_ends_the_link_s31() {
    let mut host = Node::host();
    let mut somebody = stranger(&host, true).await;
    let frames = tokio_stream::once(v1::Frame { said: None });
    let _control = timeout(PATIENCE, somebody.control(frames)).await.unwrap();
    let Event::Accepted { link, .. } = host.next().await else {
        panic!("it was not accepted");
    };
    assert_eq!(host.is_down(link).await, LinkDown::Garbled);
}

/// A paired peer pings and does not take the answers: they pile up in the host's memory, unless it
/// is not listened to until it does.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_takes_no_answers_is_not_listened_to_s31() {
    // What HTTP/2 takes before it is full, 32 KiB a time, are some thousand answers.
    const PINGS: usize = 60_000;
    let mut host = Node::host();
    let mut somebody = stranger_at(host.socket(), true, 1).await.unwrap();
    let pings = std::iter::repeat_with(|| v1::Frame::from(&Message::Ping)).take(PINGS);
    let pings = tokio_stream::iter(pings).chain(tokio_stream::pending());
    let control = timeout(PATIENCE, somebody.control(pings)).await.unwrap();
    let _unread = control.unwrap();
    let Event::Accepted { link, .. } = host.next().await else {
        panic!("it was not accepted");
    };
    let mut heard = 0;
    while let Ok(event) = timeout(Duration::from_secs(2), host.events.recv()).await {
        assert!(matches!(event, Some(Event::Said { .. })), "{event:?}");
        host.net.send(link, Message::Pong);
        heard += 1;
    }
    assert!(heard > 0, "it is listened to at first");
    assert!(heard < PINGS / 2, "{heard} pings were answered to nobody");
}

/// A host's door: whoever says something is turned away, at once.
#[derive(Default)]
struct Door {
    net: OnceLock<Weak<Net>>,
    turned: AtomicUsize,
}

impl Sink for Door {
    fn event(&self, event: Event) {
        if let Event::Said { link, .. } = event {
            self.turned.fetch_add(1, Ordering::SeqCst);
            let net = self.net.get().and_then(Weak::upgrade);
            net.unwrap().close(link);
        }
    }
}

/// TCP that counts the connections that are open on the side that listens.
#[derive(Clone, Debug, Default)]
struct Counted {
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// A listener whose streams are counted.
struct Gate(Counted, Box<dyn Listener>);

impl Transport for Counted {
    fn bind(&self, address: SocketAddr) -> std::io::Result<(Box<dyn Listener>, SocketAddr)> {
        let (listener, address) = Tcp.bind(address)?;
        Ok((Box::new(Gate(self.clone(), listener)), address))
    }

    fn connect(&self, address: SocketAddr) -> Brought<'_, BoxBytes> {
        Tcp.connect(address)
    }

    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Brought<'a, Vec<SocketAddr>> {
        Tcp.resolve(host, port)
    }
}

impl Listener for Gate {
    fn accept(&mut self) -> Brought<'_, BoxBytes> {
        let counted = self.0.clone();
        let accepted = self.1.accept();
        Box::pin(async move {
            let stream = accepted.await?;
            let open = counted.open.fetch_add(1, Ordering::SeqCst) + 1;
            counted.most.fetch_max(open, Ordering::SeqCst);
            let leave = Leave(counted.open);
            Ok(Box::new(Entered {
                stream,
                _leave: leave,
            }) as BoxBytes)
        })
    }
}

/// A stream that is counted.
struct Entered {
    stream: BoxBytes,
    _leave: Leave,
}

impl AsyncRead for Entered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Entered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Counts one less when it is dropped.
struct Leave(Arc<AtomicUsize>);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Strangers greet, are turned away and do not go: each held a descriptor for some seconds more,
/// beyond those that may greet at once.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_turned_away_counts_until_it_is_gone_s33() {
    let directory = tempfile::tempdir().unwrap();
    let config = NetConfig {
        identity: Identity::load_or_make(directory.path()).unwrap(),
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        addresses: BTreeMap::new(),
    };
    let door = Arc::new(Door::default());
    let counted = Counted::default();
    let net = Net::start_on(
        Arc::new(counted.clone()),
        config,
        Arc::clone(&door) as Arc<dyn Sink>,
        Arc::new(Payloads::default()),
        Handle::current(),
    );
    let net = Arc::new(net.unwrap());
    door.net.set(Arc::downgrade(&net)).unwrap();
    let host = net.listening()[0];
    let strangers = (0..3 * GREETING_MAX).map(|_| {
        tokio::spawn(async move {
            let mut somebody = stranger_at(host, true, 65_535).await?;
            let ping = tokio_stream::once(v1::Frame::from(&Message::Ping));
            let control = somebody.control(ping.chain(tokio_stream::pending())).await;
            Some((somebody, control))
        })
    });
    let mut held = Vec::new();
    for stranger in strangers.collect::<Vec<_>>() {
        held.push(timeout(PATIENCE, stranger).await.unwrap().unwrap());
    }
    let turned = door.turned.load(Ordering::SeqCst);
    assert!(turned >= GREETING_MAX / 2, "only {turned} came to the door");
    // One more is open for the moment that it takes to drop it.
    let most = counted.most.load(Ordering::SeqCst);
    assert!(
        most <= GREETING_MAX + 1,
        "{most} strangers were there at once"
    );
}

/// With the clock paused, time passes when nothing else happens: deadlines are met at once.
#[tokio::test(start_paused = true)]
async fn who_connects_and_says_nothing_is_cut() {
    let mut host = Node::host();
    // Not even a handshake.
    let mut silent = TcpStream::connect(host.socket()).await.unwrap();
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, silent.read_to_end(&mut answer)).await;
    assert_eq!(read.unwrap().unwrap(), 0);
    host.is_silent();

    // A handshake, and a control stream on which nothing is said.
    let mut somebody = stranger(&host, true).await;
    let frames = tokio_stream::pending::<v1::Frame>();
    let control = timeout(PATIENCE, somebody.control(frames)).await.unwrap();
    let Event::Accepted { link, .. } = host.next().await else {
        panic!("it was not accepted");
    };
    assert_eq!(host.is_down(link).await, LinkDown::Lost);
    let mut heard = control.unwrap().into_inner();
    assert!(timeout(PATIENCE, heard.message()).await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_dialling_that_nobody_answers_ends() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = PeerId([9; 32]);
    let mut joiner = Node::knowing(peer, vec![silent.local_addr().unwrap().into()]);
    joiner.net.dial(LINK, peer);
    assert_eq!(joiner.is_down(LINK).await, LinkDown::Unreachable);
}

#[tokio::test(start_paused = true)]
async fn a_link_closes_even_if_the_peer_does_not() {
    let mut host = Node::host();
    let mut somebody = stranger(&host, true).await;
    let (say, frames) = unbounded_channel();
    say.send(v1::Frame::from(&Message::Ping)).unwrap();
    let frames = tokio_stream::wrappers::UnboundedReceiverStream::new(frames);
    let control = timeout(PATIENCE, somebody.control(frames)).await.unwrap();
    let Event::Accepted { link, .. } = host.next().await else {
        panic!("it was not accepted");
    };
    assert_eq!(host.hears(link).await, Message::Ping);
    host.net.close(link);
    let mut heard = control.unwrap().into_inner();
    assert!(
        timeout(PATIENCE, heard.message())
            .await
            .unwrap()
            .unwrap()
            .is_none()
    );
    // It has had its end of the stream, keeps its own open, and is cut.
    timeout(PATIENCE, say.closed()).await.unwrap();
    host.is_silent();
}
