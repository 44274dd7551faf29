//! Who holds what: of a version that not everybody has yet, and of one that is no more.

use tandem_core::action::DiskWish;
use tandem_core::engine::Last;
use tandem_core::error::{DiskError, FsError};
use tandem_core::event::{Event, Fetched, LinkDown};
use tandem_core::ids::{
    ActorId, Arrival, AskId, ChunkHash, ChunkIx, Dot, FetchId, Lamport, LinkId, NodeId, ObjectId,
    PayloadId,
};
use tandem_core::label::Label;
use tandem_core::message::{Batch, FolderId, Hello, Message, PROTOCOL, Role, Want};
use tandem_core::place_wish::PlaceWish;
use tandem_core::time::Duration;
use tandem_core::tree::register::{Content, Digest, Register, Stamp};
use tandem_core::version::VersionVector;

use crate::app::{
    answers, asked, asked_on, both, close, create, flush, greeting, met, newest, open, read, secs,
    versions, written,
};
use crate::bo::Bo;
use crate::names::adas_hello;
use crate::placing::{ada, names, tree};
use crate::stage::{CHUNK, Held, Side, Stage, TICKET, photo};

// What stays where it was made.

/// Bo writes a word into a photo of which he has nothing else. Until ada has taken it up, she can
/// be asked for the rest as nothing but the photo as it was: it stays a draft, which knows that.
#[test]
fn a_draft_in_part_settles_once_the_host_holds_its_version() {
    let mut stage = met();
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    close(&mut stage, fh);
    stage.wait(secs(30));
    assert_eq!(stage.side("bo").objects.drafts(), 1, "ada has not heard");
    stage.deaf = &[];
    stage.cut();
    stage.wait(secs(10));
    assert_eq!(tree(&mut stage)["photo"], greeting());
    assert_eq!(stage.side("bo").objects.drafts(), 0);
    assert_eq!(read(&mut stage, "photo"), greeting());
}

/// A host that said so as soon as the file has its place would be believed by the only other one
/// that has it.
#[test]
fn a_host_says_that_it_holds_what_survives_power_loss() {
    let mut stage = ada(&[("a", b"first")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let a = bo.find("a");
    let version = bo.write(a, b"bo's");
    bo.tell(&mut stage);
    let is_said = |stage: &mut Stage| {
        let is_it = |register: &Register| matches!(register, Register::Digest(digest) if digest.object.version == version);
        stage.side("ada").registers().iter().any(is_it)
    };
    let is_sync = |wish: &DiskWish| matches!(wish, DiskWish::Place(PlaceWish::Harden));
    stage.side("ada").failing = Some((is_sync, DiskError::Io));
    while stage.side("ada").failing.is_some() {
        while bo.serve_one(&mut stage) {}
        stage.wait(Duration::from_millis(50));
    }
    assert_eq!(tree(&mut stage)["a"], b"bo's");
    assert!(!is_said(&mut stage), "the folder was not synced");
    bo.attend(&mut stage);
    assert!(is_said(&mut stage));
    stage.power_loss("ada");
    assert_eq!(tree(&mut stage)["a"], b"bo's");
}

/// Bo, alone with a host that is played by hand, has made a file; returns that and its version.
fn bo_has_made() -> (Stage, LinkId, Content) {
    let mut stage = Stage::of(vec![Side::joiner(1, "bo")]);
    stage.side("bo").config.writable = true;
    stage.side("bo").config.chunk_size = 512;
    stage.start("bo", Last::Clean);
    let link = stage.puppet.expect("bo has dialled");
    stage.said("bo", link, adas_hello());
    let (_, fh) = create(&mut stage, "new");
    written(&mut stage, fh, 0, b"bo's", 101);
    close(&mut stage, fh);
    stage.wait(secs(2));
    assert_eq!(stage.side("bo").objects.drafts(), 0);
    let made = versions(&mut stage).remove(0);
    (stage, link, made)
}

/// Cleo, who has not all of it herself, made another version of what bo made.
fn cleos(made: &Content) -> Content {
    let dot = Dot {
        actor: ActorId(0xc0),
        counter: 1,
    };
    let mut context = made.context.clone();
    context.cover(made.stamp.dot);
    Content {
        stamp: Stamp {
            lamport: Lamport(made.stamp.lamport.0 + 1),
            dot,
        },
        context,
        base: Some(made.stamp.dot),
        ..made.clone()
    }
}

pub(crate) fn hears(stage: &mut Stage, link: LinkId, upto: u64, register: Register) {
    let batch = Batch {
        upto: Arrival(upto),
        registers: vec![register],
        knowledge: None,
    };
    stage.said("bo", link, Message::Registers(batch));
    stage.said("bo", link, Message::Pong);
    stage.wait(secs(2));
}

/// Bo's version was superseded by cleo's, all of which he has read, so that his own spares him
/// nothing any more; returns his, and the word that a host holds hers.
pub(crate) fn superseded() -> (Stage, LinkId, ObjectId, Register) {
    let (mut stage, link, made) = bo_has_made();
    let next = cleos(&made);
    hears(&mut stage, link, 1, Register::Content(next.clone()));
    let fh = stage.open("bo", "new");
    let req = stage.read("bo", fh, 0, 4);
    let (_, fetch, _) = stage.unanswered.remove(0);
    let (payload, hash) = (PayloadId(stage.draw()), ChunkHash::of(b"cleo"));
    stage.side("bo").payloads.insert(payload, b"cleo".to_vec());
    let outcome = Fetched::Data {
        payload,
        len: 4,
        computed: hash,
        recorded: hash,
    };
    stage.event("bo", Event::Fetched { fetch, outcome });
    assert_eq!(stage.bytes("bo", req), b"cleo");
    stage.wait(secs(8));
    let stamp = Stamp {
        lamport: Lamport(100),
        dot: Dot {
            actor: ActorId(5),
            counter: 1,
        },
    };
    let said = Register::Digest(Digest {
        object: next.object(),
        stamp,
        hash: 7,
    });
    (stage, link, made.object(), said)
}

/// What cleo made of a version is had as that version where she has not all of it: whoever made
/// that keeps it, and serves it, until a host says that it has what was made of it.
#[test]
fn what_was_superseded_stays_until_a_host_holds_its_successor() {
    let (mut stage, link, object, said) = superseded();
    let own = ("bo", link);
    assert_eq!(asked_on(&mut stage, own, object, 0), "here it is");
    assert_eq!(stage.side("bo").objects.count(), 2);
    hears(&mut stage, link, 2, said);
    assert_eq!(stage.side("bo").objects.count(), 1);
    assert_eq!(asked_on(&mut stage, own, object, 0), "gone");
}

/// Whoever asks waits while the disk is asked what is there, and is answered whatever comes of it.
#[test]
fn who_asks_for_what_is_superseded_and_then_goes_is_told_so() {
    let (mut stage, link, object, said) = superseded();
    stage.hold("bo", Held::Disk);
    assert_eq!(asked_on(&mut stage, ("bo", link), object, 0), "nothing");
    hears(&mut stage, link, 2, said);
    stage.release("bo", Held::Disk);
    assert_eq!(answers(&mut stage, "bo"), ["gone"]);
}

// What is asked for as what.

/// Ada's photo was lost before she had taken up what bo wrote into it: she asks him for all of
/// it. What he lacks he asks for first, as what is beneath.
#[test]
fn what_a_draft_lacks_is_fetched_for_whoever_asks() {
    let mut stage = met();
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    flush(&mut stage, fh);
    let object = newest(&mut stage);
    stage.hold("bo", Held::Chunks);
    assert_eq!(asked(&mut stage, object, 0), "nothing");
    stage.release("bo", Held::Chunks);
    assert_eq!(answers(&mut stage, "bo"), ["here it is"]);
    assert_eq!(asked(&mut stage, object, 3), "here it is");
}

/// Bo's draft lacks a chunk, of which ada has another by now; he has not heard of that.
fn nobody_has_it() -> (Stage, ObjectId) {
    let mut stage = met();
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    flush(&mut stage, fh);
    let object = newest(&mut stage);
    stage.deaf = &["ada", "bo"];
    stage.side("ada").files.write("photo", &[3; 1_600]);
    stage.hint("photo");
    (stage, object)
}

/// He is told when it was asked for in vain once, and not when the attempts have run out: he has no
/// room for anything else meanwhile.
#[test]
fn who_asks_for_what_nobody_has_is_told_so() {
    let (mut stage, object) = nobody_has_it();
    assert_eq!(asked(&mut stage, object, 0), "not held");
    stage.wait(secs(20));
    assert_eq!(asked(&mut stage, object, 0), "not held");
}

/// P9: it was asked for by every name that it may have, every half second, for ever.
#[test]
fn what_nobody_has_is_an_error_and_is_asked_for_no_more() {
    let (mut stage, _) = nobody_has_it();
    let fh = stage.open("bo", "photo");
    let req = stage.read("bo", fh, 0, 10);
    stage.wait(secs(20));
    assert_eq!(stage.answer("bo", req), Some(Err(FsError::Io)));
    let asked = stage.side("bo").engine().counters().chunks_asked;
    stage.wait(secs(60));
    let then = stage.side("bo").engine().counters().chunks_asked;
    assert_eq!(then, asked);
}

/// Bo has the photo open in which he wrote a word. Ada has taken that up, and the photo as it was
/// no longer, not in her trash either; what bo lacks of that he asks for as what he made of it.
#[test]
fn what_is_beneath_is_asked_for_as_what_was_made_of_it() {
    let mut stage = both();
    let (_, fh) = open(&mut stage, "photo");
    written(&mut stage, fh, 600, b"HELLO", 101);
    flush(&mut stage, fh);
    stage.wait(secs(5));
    assert_eq!(tree(&mut stage)["photo"], greeting());
    stage.side("ada").files.empty_trash();
    assert_eq!(stage.side("bo").objects.drafts(), 1, "it is open");
    let req = stage.read("bo", fh, 0, 512);
    stage.wait(secs(2));
    assert_eq!(stage.bytes("bo", req), photo()[..512]);
}

// The host.

/// Ada has heard of bo's version and can't have it yet: what stands in her folder is what it was
/// made of, and whoever reads that is served; out of her trash too, as long as it lies there.
#[test]
fn a_host_serves_what_stands_though_it_was_superseded() {
    let mut stage = ada(&[("a", &[7; 700])]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let node = bo.find("a");
    let version = bo.version_of(node);
    bo.serves = false;
    bo.write(node, &[9; 900]);
    bo.tell(&mut stage);
    let first = ObjectId { node, version };
    let own = ("ada", bo.link);
    assert_eq!(asked_on(&mut stage, own, first, 1), "here it is");
    assert_eq!(asked_on(&mut stage, own, first, 2), "not held");
    bo.serves = true;
    bo.attend(&mut stage);
    assert_eq!(tree(&mut stage)["a"], [9; 900]);
    assert_eq!(asked_on(&mut stage, own, first, 1), "here it is");
    stage.side("ada").files.empty_trash();
    assert_eq!(asked_on(&mut stage, own, first, 1), "gone");
}

/// A look under the old name finds nothing: that says nothing of the trash, and was taken to, so
/// that nobody was served of that file any more.
#[test]
fn what_goes_to_the_trash_while_it_is_read_is_read_there() {
    let mut stage = ada(&[("a", &[7; 700])]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let node = bo.find("a");
    let version = bo.version_of(node);
    stage.hold("ada", Held::Disk);
    bo.remove(node, "a");
    bo.tell(&mut stage);
    assert_eq!(tree(&mut stage).get("a"), None, "it is done, and ada waits");
    let first = ObjectId { node, version };
    let own = ("ada", bo.link);
    assert_eq!(asked_on(&mut stage, own, first, 1), "nothing");
    stage.release("ada", Held::Disk);
    assert_eq!(answers(&mut stage, "ada"), ["here it is"]);
    assert_eq!(asked_on(&mut stage, own, first, 0), "here it is");
}

/// A file that is moved may be seen late, and is told anew then, as a version of the same bytes.
/// Who was making something of the one before was refused what he lacked of it, for ever.
#[test]
fn a_host_serves_the_version_that_a_moved_file_was() {
    let mut stage = ada(&[("a", &[7; 700])]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let node = bo.find("a");
    let version = bo.version_of(node);
    let first = ObjectId { node, version };
    let own = ("ada", bo.link);
    stage.side("ada").files.rename("a", "b");
    stage.hint("a");
    stage.wait(secs(2));
    stage.hint("b");
    bo.listen(&mut stage);
    assert_ne!(bo.version_of(node), version, "it is told anew");
    assert_eq!(asked_on(&mut stage, own, first, 1), "here it is");
    // It moves on, and is not where it was, and there again.
    stage.side("ada").files.rename("b", "c");
    assert_eq!(asked_on(&mut stage, own, first, 1), "gone");
    stage.wait(secs(2));
    stage.hint("c");
    stage.wait(secs(2));
    assert_eq!(asked_on(&mut stage, own, first, 1), "here it is");
    // Now it goes to the trash, and is served from there.
    bo.listen(&mut stage);
    bo.remove(node, "c");
    bo.tell(&mut stage);
    assert_eq!(names(&mut stage), [""; 0]);
    assert_eq!(asked_on(&mut stage, own, first, 1), "here it is");
    stage.side("ada").files.empty_trash();
    assert_eq!(asked_on(&mut stage, own, first, 1), "gone");
}

/// The same of one that was moved onto another file, which it is from then on.
#[test]
fn a_host_serves_the_version_that_a_file_was_before_it_was_moved_onto_another() {
    let mut stage = ada(&[("a", &[7; 700]), ("b", b"b")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let node = bo.find("a");
    let version = bo.version_of(node);
    let first = ObjectId { node, version };
    let own = ("ada", bo.link);
    stage.side("ada").files.rename("a", "b");
    stage.hint("a");
    stage.wait(secs(2));
    stage.hint("b");
    bo.listen(&mut stage);
    assert_eq!(asked_on(&mut stage, own, first, 1), "here it is");
}

/// What was written to a moved file before it was seen is not what the version before holds.
#[test]
fn a_host_does_not_serve_what_a_moved_file_became_as_what_it_was() {
    let mut stage = ada(&[("a", &[7; 700])]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let node = bo.find("a");
    let version = bo.version_of(node);
    let first = ObjectId { node, version };
    let own = ("ada", bo.link);
    stage.side("ada").files.rename("a", "b");
    stage.hint("a");
    stage.wait(secs(2));
    stage.side("ada").files.write("b", &[8; 700]);
    stage.hint("b");
    bo.listen(&mut stage);
    assert_eq!(asked_on(&mut stage, own, first, 1), "gone");
    // Nor when it changes after it was seen.
    let version = bo.version_of(node);
    let second = ObjectId { node, version };
    stage.side("ada").files.rename("b", "c");
    stage.hint("b");
    stage.wait(secs(2));
    stage.hint("c");
    stage.wait(secs(2));
    assert_eq!(asked_on(&mut stage, own, second, 1), "here it is");
    stage.side("ada").files.write("c", &[9; 700]);
    assert_eq!(asked_on(&mut stage, own, second, 1), "gone");
}

/// Ada's own version lost to bo's, and stands beside it under another name and as another node.
#[test]
fn a_host_serves_a_version_that_stands_as_a_conflict_copy() {
    let mut stage = ada(&[("a", b"first")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let (node, knew) = (bo.find("a"), bo.knows.clone());
    stage.side("ada").files.write("a", b"ada's own");
    stage.hint("a");
    bo.listen(&mut stage);
    let version = bo.version_of(node);
    bo.write_on(node, knew, b"bo's");
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    assert_eq!(names(&mut stage).len(), 2);
    let lost = ObjectId { node, version };
    let own = ("ada", bo.link);
    assert_eq!(asked_on(&mut stage, own, lost, 0), "here it is");
}

/// A disk that was full for so long that the attempts at a chunk ran out: nobody had to come for
/// what bo made to be fetched after all.
#[test]
fn what_had_no_room_is_fetched_for_its_place_when_there_is() {
    let mut stage = ada(&[]);
    let mut bo = Bo::join(&mut stage);
    bo.file(NodeId::ROOT, "a", b"bo's");
    bo.tell(&mut stage);
    let is_store = |wish: &DiskWish| matches!(wish, DiskWish::StoreChunk { .. });
    for _ in 0..400 {
        stage.side("ada").failing = Some((is_store, DiskError::NoSpace));
        while bo.serve_one(&mut stage) {}
        stage.said("ada", bo.link, Message::Ping);
        stage.wait(Duration::from_millis(250));
    }
    assert_eq!(names(&mut stage), Vec::<String>::new());
    stage.side("ada").failing = None;
    for _ in 0..30 {
        bo.attend(&mut stage);
    }
    assert_eq!(names(&mut stage), ["a"]);
}

/// All of bo's file was there when the disk refused to put it into the folder, and before that was
/// tried again he had written on. He has no more than what he wrote last: the rest is here.
#[test]
fn what_could_not_be_put_into_the_folder_is_not_fetched_anew_for_the_next_version() {
    let mut stage = ada(&[]);
    let mut bo = Bo::join(&mut stage);
    let first = vec![1; 3 * CHUNK as usize];
    let node = bo.file(NodeId::ROOT, "a", b"");
    let base = bo.write(node, &first);
    bo.tell(&mut stage);
    let is_prepare = |wish: &DiskWish| matches!(wish, DiskWish::Place(PlaceWish::Prepare { .. }));
    stage.side("ada").failing = Some((is_prepare, DiskError::NoSpace));
    for _ in 0..10 {
        while bo.serve_one(&mut stage) {}
        stage.wait(Duration::from_millis(1));
    }
    assert!(stage.side("ada").failing.is_none());
    let object = ObjectId {
        node,
        version: base,
    };
    bo.has_only(object, &[]);
    let second = [first, b"and more".to_vec()].concat();
    bo.write(node, &second);
    bo.only_changed(base, &[3]);
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    assert_eq!(tree(&mut stage)["a"], second);
}

/// Dan comes, as whom nothing is known of; returns ada's link to him.
fn dan_comes(stage: &mut Stage) -> LinkId {
    let link = stage.connect("ada", 78);
    let hello = Hello {
        protocol: PROTOCOL,
        folder: Some(FolderId([9; 16])),
        role: Role::Sparse,
        name: Label::lossy("dan"),
        secret: Some(TICKET),
        session: 1 + stage.draw(),
        actor: ActorId(0xda),
        epoch: 6,
        knowledge: VersionVector::new(),
        cursor: None,
        takes_changes: true,
        pushes: false,
    };
    stage.said("ada", link, Message::Hello(hello));
    link
}

/// Bo wrote on before ada had all of his file. What did not change of it came as it was before, and dan
/// may have it as that; she asked bo for it again, since she has another chunk of that version itself.
#[test]
fn what_came_as_an_older_version_is_given_as_that_though_some_of_that_is_here() {
    let mut stage = ada(&[]);
    let mut bo = Bo::join(&mut stage);
    let node = bo.file(NodeId::ROOT, "a", b"");
    let version = bo.write(node, &[7; 3 * CHUNK as usize]);
    bo.tell(&mut stage);
    assert!(bo.serve_one(&mut stage));
    stage.wait(Duration::from_millis(1));
    let next = bo.write(node, &[8; 3 * CHUNK as usize]);
    bo.only_changed(version, &[2]);
    let lacks = ObjectId {
        node,
        version: next,
    };
    bo.has_only(lacks, &[]);
    bo.tell(&mut stage);
    bo.attend(&mut stage);
    let link = dan_comes(&mut stage);
    stage.unanswered.clear();
    stage.trace();
    let object = ObjectId { node, version };
    let ask = AskId(stage.draw());
    let want = Want {
        object,
        chunk: ChunkIx(1),
        have: None,
    };
    let len = CHUNK;
    let asked = Event::Asked {
        link,
        ask,
        want,
        len,
    };
    stage.event("ada", asked);
    assert_eq!(answers(&mut stage, "ada"), ["here it is"]);
    assert!(stage.unanswered.is_empty(), "nobody else is asked");
}

/// Answers what ada has asked for on a link, all of it alike.
fn answer_all(stage: &mut Stage, link: LinkId, outcome: Fetched) -> usize {
    let (his, others) = std::mem::take(&mut stage.unanswered)
        .into_iter()
        .partition(|(on, ..)| *on == link);
    stage.unanswered = others;
    let his: Vec<(LinkId, FetchId, Want)> = his;
    for (_, fetch, _) in &his {
        let fetch = *fetch;
        stage.event("ada", Event::Fetched { fetch, outcome });
    }
    his.len()
}

/// The disk of whoever had made a version failed, and he was asked for it again and again, though
/// another one had it.
#[test]
fn who_fails_is_not_asked_again_before_the_others() {
    let mut stage = ada(&[]);
    let mut bo = Bo::join(&mut stage);
    let dan = dan_comes(&mut stage);
    bo.file(NodeId::ROOT, "a", &[7; 700]);
    bo.tell(&mut stage);
    assert_eq!(answer_all(&mut stage, dan, Fetched::NotHeld), 0, "yet");
    let failed = answer_all(&mut stage, bo.link, Fetched::Failed);
    assert!(failed > 0);
    let asked = stage.unanswered.iter().filter(|(on, ..)| *on == dan);
    assert_eq!(asked.count(), failed, "at once");
    answer_all(&mut stage, dan, Fetched::NotHeld);
    bo.attend(&mut stage);
    assert_eq!(tree(&mut stage)["a"], [7; 700]);
}

/// The one who was yet to be asked went away, and those who had been asked never were again.
#[test]
fn a_chunk_is_asked_for_again_though_the_last_to_be_asked_has_gone() {
    let mut stage = ada(&[]);
    let mut bo = Bo::join(&mut stage);
    let dan = dan_comes(&mut stage);
    bo.file(NodeId::ROOT, "a", &[7; 700]);
    bo.tell(&mut stage);
    assert!(answer_all(&mut stage, bo.link, Fetched::NotHeld) > 0);
    let why = LinkDown::Lost;
    stage.event("ada", Event::LinkDown { link: dan, why });
    stage.unanswered.retain(|(on, ..)| *on != dan);
    bo.attend(&mut stage);
    assert_eq!(tree(&mut stage)["a"], [7; 700]);
}

/// Of a file one chunk was asked for in vain until the attempts had run out, while another one was on
/// its way. That came, and nobody asked for the rest.
#[test]
fn what_comes_when_the_attempts_have_run_out_begins_them_anew() {
    let mut stage = ada(&[]);
    let mut bo = Bo::join(&mut stage);
    bo.file(NodeId::ROOT, "a", &[7; 2 * CHUNK as usize]);
    bo.tell(&mut stage);
    let is_first = |(.., want): &(LinkId, FetchId, Want)| want.chunk.0 == 0;
    let mut late = Vec::new();
    for _ in 0..20 {
        let asked = std::mem::take(&mut stage.unanswered).into_iter();
        let (first, others): (Vec<_>, Vec<_>) = asked.partition(is_first);
        late.extend(others);
        stage.unanswered = first;
        answer_all(&mut stage, bo.link, Fetched::NotHeld);
        stage.said("ada", bo.link, Message::Ping);
        stage.wait(secs(5));
    }
    assert_eq!(late.len(), 1, "the attempts have run out");
    stage.unanswered = late;
    bo.attend(&mut stage);
    assert_eq!(tree(&mut stage)["a"], [7; 2 * CHUNK as usize]);
}

/// bo's disk failed until the attempts at his file had run out. Nobody had to come for it to be fetched
/// when the disk obliged; meanwhile he was asked less and less often.
#[test]
fn what_a_peer_could_not_read_is_asked_for_again_later() {
    let mut stage = ada(&[]);
    let mut bo = Bo::join(&mut stage);
    bo.file(NodeId::ROOT, "a", &[7; 700]);
    bo.tell(&mut stage);
    let mut asked = Vec::new();
    for hour in 0..3 {
        asked.push(0);
        for _ in 0..720 {
            asked[hour] += answer_all(&mut stage, bo.link, Fetched::Failed);
            stage.said("ada", bo.link, Message::Ping);
            stage.wait(secs(5));
        }
    }
    assert!(asked[0] <= 60 && asked[2] <= 12, "{asked:?}");
    for _ in 0..720 {
        bo.attend(&mut stage);
        stage.said("ada", bo.link, Message::Ping);
        stage.wait(secs(5));
    }
    assert_eq!(tree(&mut stage)["a"], [7; 700]);
}

/// Of bo's version nobody has the bytes any more, and what stood under its name was the conflict copy of
/// ada's: that waited for it, and was nowhere where the tree has it.
#[test]
fn a_conflict_copy_gets_its_name_though_what_takes_its_place_is_lost() {
    let mut stage = ada(&[("a", b"at first")]);
    let mut bo = Bo::join(&mut stage);
    bo.listen(&mut stage);
    let (node, knew) = (bo.find("a"), bo.knows.clone());
    stage.side("ada").files.write("a", b"ada's");
    stage.hint("a");
    stage.wait(secs(2));
    let version = bo.write_on(node, knew, b"bo's");
    bo.has_only(ObjectId { node, version }, &[]);
    bo.tell(&mut stage);
    for _ in 0..30 {
        while bo.serve_one(&mut stage) {}
        stage.said("ada", bo.link, Message::Ping);
        stage.wait(secs(5));
    }
    let here = tree(&mut stage);
    let names: Vec<&String> = here.keys().collect();
    assert!(
        matches!(&names[..], [name] if name.starts_with("a (conflict from ada")),
        "{names:?}"
    );
    assert!(here.values().eq([b"ada's"]));
}
