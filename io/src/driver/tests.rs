//! The driver with a real engine and parts that only take notes.

use std::sync::atomic::AtomicU32;
use std::sync::mpsc::{Receiver, channel};

use tandem_core::engine::{Config, Host, Last, Start};
use tandem_core::event::{FsCall, LinkDown};
use tandem_core::ids::Ino;
use tandem_core::label::Label;
use tandem_core::message::Role;

use super::*;

const LONG: Duration = Duration::from_secs(20);

/// What the parts were asked to do.
#[derive(Default)]
struct Notes {
    dialled: Mutex<Vec<LinkId>>,
    jobs: AtomicU32,
    abandoned: AtomicBool,
    answered: Mutex<Vec<(ReqId, Result<FsReply, FsError>)>>,
    /// Held by a test to keep an answer from being written.
    pen: Mutex<()>,
    writing: AtomicBool,
    /// Whether jobs make the disk panic.
    cursed: AtomicBool,
}

impl Wire for Notes {
    fn dial(&self, link: LinkId, _peer: PeerId) {
        lock(&self.dialled).push(link);
    }
    fn send(&self, _link: LinkId, _message: Message) {}
    fn close(&self, _link: LinkId) {}
    fn fetch(&self, _fetch: FetchId, _link: LinkId, _lane: u32, _want: Want, _len: u32) {}
    fn close_lanes(&self, _link: LinkId, _node: NodeId) {}
    fn answer(&self, _ask: AskId, _answer: Answer) {}
}

impl Store for Notes {
    fn perform(&self, _job: JobId, _wish: DiskWish) {
        assert!(!self.cursed.load(Ordering::Acquire), "a law is broken");
        self.jobs.fetch_add(1, Ordering::AcqRel);
    }
    fn commit(&self, _commit: CommitId, _records: Vec<Record>, _sync: bool) {}
    fn claim(&self, _wish: &DiskWish) -> bool {
        false
    }
    fn do_claimed(&self, job: JobId, _wish: DiskWish) -> Event {
        panic!("{job} was not claimed")
    }
}

impl Front for Notes {
    fn reply(&self, req: ReqId, result: Result<FsReply, FsError>) -> Vec<Event> {
        self.writing.store(true, Ordering::Release);
        let _pen = lock(&self.pen);
        lock(&self.answered).push((req, result));
        Vec::new()
    }
    fn invalidate(&self, _what: Invalidation) {}
    fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }
}

/// A driver that is not connected yet.
fn driver(role: Role) -> (Arc<Driver>, Arc<Notes>, Receiver<Notice>) {
    let me = PeerId([1; 32]);
    let host = PeerId([2; 32]);
    let config = Config {
        host: (role != Role::Full).then_some(Host {
            peer: host,
            secret: None,
        }),
        ..Config::new(me, Label::lossy("ada"), role)
    };
    let start = Start {
        seed: 7,
        now: Time::ZERO,
        last: Last::Clean,
    };
    let engine = Engine::restore(config, start, []).unwrap();
    let (sender, notices) = channel();
    let driver = Driver::new(engine, Instant::now(), Arc::default(), sender);
    (driver, Arc::default(), notices)
}

fn connect(driver: &Driver, notes: &Arc<Notes>) {
    driver.connect(Parts {
        wire: Arc::clone(notes) as Arc<_>,
        store: Arc::clone(notes) as Arc<_>,
        front: Arc::clone(notes) as Arc<_>,
    });
}

fn get_attr(req: u64) -> Event {
    Event::Fs {
        req: ReqId(req),
        call: FsCall::GetAttr { ino: Ino::ROOT },
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} never came");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_comes_before_the_parts_is_kept_in_order() {
    let (driver, notes, _notices) = driver(Role::Sparse);
    for req in 1..=3 {
        driver.submit(get_attr(req));
    }
    assert!(lock(&notes.answered).is_empty());
    connect(&driver, &notes);
    let answered: Vec<_> = lock(&notes.answered).iter().map(|(req, _)| req.0).collect();
    assert_eq!(answered, [1, 2, 3]);
    driver.shutdown();
}

#[test]
fn the_timer_wakes_the_engine_at_its_deadlines() {
    let (driver, notes, _notices) = driver(Role::Sparse);
    connect(&driver, &notes);
    for attempt in 0..2 {
        wait_until("a dialling", || lock(&notes.dialled).len() > attempt);
        let link = lock(&notes.dialled)[attempt];
        let why = LinkDown::Unreachable;
        driver.submit(Event::LinkDown { link, why });
    }
    // Nothing but time leads to this one.
    wait_until("a third dialling", || lock(&notes.dialled).len() > 2);
    driver.shutdown();
}

#[test]
fn an_invalidation_waits_for_the_answers_that_were_computed_before_it() {
    let (driver, notes, _notices) = driver(Role::Sparse);
    connect(&driver, &notes);
    let pen = lock(&notes.pen);
    let asking = {
        let driver = Arc::clone(&driver);
        thread::spawn(move || driver.submit(get_attr(1)))
    };
    wait_until("the answer", || notes.writing.load(Ordering::Acquire));
    let sent = Arc::new(AtomicBool::new(false));
    let sending = {
        let (driver, sent) = (Arc::clone(&driver), Arc::clone(&sent));
        thread::spawn(move || {
            driver.let_answers_out();
            sent.store(true, Ordering::Release);
        })
    };
    thread::sleep(Duration::from_millis(50));
    assert!(!sent.load(Ordering::Acquire), "it overtook an answer");
    drop(pen);
    asking.join().unwrap();
    sending.join().unwrap();
    assert_eq!(lock(&notes.answered).len(), 1);
    driver.shutdown();
}

#[test]
fn when_a_law_is_broken_every_call_fails_and_nobody_waits() {
    let (driver, notes, notices) = driver(Role::Full);
    notes.cursed.store(true, Ordering::Release);
    // A full replica lists its folder at once.
    connect(&driver, &notes);
    assert!(driver.is_broken());
    assert!(notes.abandoned.load(Ordering::Acquire));
    assert_eq!(
        notices.recv_timeout(LONG),
        Ok(Notice::Broken("a law is broken".to_owned()))
    );
    driver.submit(get_attr(1));
    let answered = lock(&notes.answered).clone();
    assert_eq!(answered, [(ReqId(1), Err(FsError::Io))]);
    assert_eq!(driver.status(), None);
    driver.shutdown();
}
