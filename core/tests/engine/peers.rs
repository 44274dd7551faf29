//! Peers are listed and removed.

use tandem_core::engine::{Invite, Last};
use tandem_core::error::Fault;
use tandem_core::event::Event;
use tandem_core::ids::{PeerId, ReqId};
use tandem_core::message::{Message, Refusal, Role, Secret};
use tandem_core::peers::{Listed, Removed, Unremoved};
use tandem_core::status::LinkState;

use crate::app::{asked_on, both, close, create, newest, secs, written};
use crate::placing::{names, tree};
use crate::stage::{Held, Side, Stage, photo};

const ADA: PeerId = PeerId([1; 32]);
const BO: PeerId = PeerId([2; 32]);
const CY: PeerId = PeerId([3; 32]);

fn remove(stage: &mut Stage, name: &str, peer: PeerId) -> Result<Removed, Unremoved> {
    let req = ask_to_remove(stage, name, peer);
    let answer = stage.side(name).removed.get(&req).cloned();
    answer.expect("it is answered")
}

fn ask_to_remove(stage: &mut Stage, name: &str, peer: PeerId) -> ReqId {
    let req = ReqId(stage.draw());
    stage.event(name, Event::Remove { req, peer });
    req
}

fn listed(stage: &mut Stage, name: &str) -> Vec<Listed> {
    let now = stage.now;
    stage.side(name).engine().peers(now)
}

fn of(stage: &mut Stage, name: &str, peer: PeerId) -> Option<Listed> {
    let all = listed(stage, name).into_iter();
    let mut all = all.filter(|listed| listed.status.peer == peer);
    let found = all.next();
    assert_eq!(all.next(), None, "once each");
    found
}

/// Returns how `name` says that its link to `peer` stands, and why it is refused.
fn stands(stage: &mut Stage, name: &str, peer: PeerId) -> (LinkState, Option<String>) {
    let status = of(stage, name, peer).expect("it is known").status;
    (status.link, status.refused)
}

fn is_removed(stage: &mut Stage, peer: PeerId) -> bool {
    of(stage, "ada", peer).is_some_and(|listed| listed.is_removed)
}

/// Ada shares `photo` and takes changes; bo, cy and the guest gus came by a ticket each, and bo and
/// gus by the same.
fn four() -> Stage {
    let mut gus = Side::joiner(3, "gus");
    gus.config.role = Role::Guest;
    let mut bo = Side::joiner(1, "bo");
    let mut cy = Side::joiner(2, "cy");
    let mut ada = Side::host("ada");
    ada.config.invites = Vec::new();
    for (id, sides) in [(1, [&mut bo, &mut gus].as_mut_slice()), (2, &mut [&mut cy])] {
        let secret = Secret([u8::try_from(id).unwrap() + 50; 32]);
        ada.config.invites.push(Invite { id, secret });
        for side in sides {
            side.config.host.as_mut().unwrap().secret = Some(secret);
        }
    }
    for side in [&mut ada, &mut bo, &mut cy] {
        side.config.writable = true;
    }
    let mut stage = Stage::of([ada, bo, cy, gus].into());
    stage.side("ada").files.write("photo", &photo());
    for name in ["ada", "bo", "cy", "gus"] {
        stage.start(name, Last::Clean);
    }
    stage.wait(secs(1));
    stage
}

/// Bo was at the link when he was removed. He hears why, at once and when he comes again; what he
/// says meanwhile counts for nothing, and what he asks for is not answered.
#[test]
fn access_ends_at_once_and_for_good() {
    let mut stage = both();
    stage.wait(secs(1));
    let link = stage.links("ada")[0];
    let photo = newest(&mut stage);
    assert_eq!(stands(&mut stage, "ada", BO), (LinkState::Live, None));
    let removed = remove(&mut stage, "ada", BO).unwrap();
    assert_eq!(removed.name.unwrap().as_str(), "bo");
    assert_eq!((removed.unheld, removed.guests), (0, vec![]));
    let why = Refusal::Removed;
    let told = Fault::Refused { peer: ADA, why };
    assert_eq!(stage.side("bo").faults, std::slice::from_ref(&told));
    let refused = stands(&mut stage, "bo", ADA);
    assert_eq!(refused, (LinkState::Gone, Some(why.to_string())));
    assert!(is_removed(&mut stage, BO));
    assert_eq!(asked_on(&mut stage, ("ada", link), photo, 0), "failed");
    // What he makes stays with him.
    make(&mut stage, "mine");
    stage.wait(secs(100));
    assert!(stage.side("bo").faults.len() > 2, "he has come again");
    assert!(stage.side("bo").faults.iter().all(|fault| *fault == told));
    assert_eq!(names(&mut stage), ["photo"]);
    assert_eq!(stage.side("ada").faults, [], "ada knows it");
    // Across restarts of both.
    for last in [Last::Clean, Last::Killed] {
        stage.kill("ada");
        stage.kill("bo");
        stage.side("bo").faults.clear();
        stage.start("ada", last);
        stage.start("bo", last);
        stage.wait(secs(40));
        assert_eq!(stage.side("bo").faults[0], told);
        assert!(is_removed(&mut stage, BO));
    }
    assert_eq!(remove(&mut stage, "ada", BO), Err(Unremoved::Already));
}

/// Bo makes a file of four bytes and closes it.
fn make(stage: &mut Stage, name: &str) {
    let (_, fh) = create(stage, name);
    written(stage, fh, 0, b"bo's", 101);
    close(stage, fh);
}

/// A power loss came a moment after the answer, and who had been removed was let in again.
#[test]
fn who_is_told_removed_stays_so_after_a_power_loss() {
    let mut stage = both();
    stage.wait(secs(1));
    stage.hold("ada", Held::Commits);
    let req = ask_to_remove(&mut stage, "ada", BO);
    assert_eq!(stage.links("ada"), [], "its link does not wait for that");
    assert_eq!(stage.side("ada").removed.get(&req), None);
    stage.release("ada", Held::Commits);
    assert!(stage.side("ada").removed.get(&req).unwrap().is_ok());
    stage.power_loss("ada");
    stage.start("ada", Last::Lost);
    stage.wait(secs(60));
    assert!(is_removed(&mut stage, BO));
    assert_eq!(stands(&mut stage, "bo", ADA).0, LinkState::Gone);
}

/// Whoever was removed has the ticket still: neither another key nor his guest's comes in by it. A
/// further ticket is for whoever gets it, but for his key.
#[test]
fn a_ticket_ends_with_whom_it_let_in() {
    let gus = PeerId([4; 32]);
    let mut stage = four();
    assert_eq!(stands(&mut stage, "ada", gus).0, LinkState::Live);
    assert_eq!(stage.side("ada").engine().invites_of(BO), [1]);
    assert_eq!(stage.side("ada").engine().invites_of(gus), [1]);
    let removed = remove(&mut stage, "ada", BO).unwrap();
    assert_eq!(removed.guests, [gus]);
    assert_eq!(of(&mut stage, "ada", gus), None);
    stage.wait(secs(60));
    let refused = Some(Refusal::NotPaired.to_string());
    assert_eq!(
        stands(&mut stage, "gus", ADA),
        (LinkState::Gone, refused.clone())
    );
    assert_eq!(stands(&mut stage, "cy", ADA).0, LinkState::Live);
    // He makes himself another key.
    stage.kill("bo");
    stage.side("bo").store.clear();
    stage.side("bo").config.me = PeerId([77; 32]);
    stage.start("bo", Last::Clean);
    stage.wait(secs(60));
    assert_eq!(stands(&mut stage, "bo", ADA), (LinkState::Gone, refused));
    // Ada gives out another ticket, which the shell keeps for her next starts.
    let further = Invite {
        id: 3,
        secret: Secret([99; 32]),
    };
    stage.event("ada", Event::Invited(further.clone()));
    for side in ["bo", "gus"] {
        stage.kill(side);
        let host = stage.side(side).config.host.as_mut().unwrap();
        host.secret = Some(further.secret);
    }
    stage.start("bo", Last::Clean);
    stage.start("gus", Last::Clean);
    stage.wait(secs(2));
    assert_eq!(stands(&mut stage, "bo", ADA).0, LinkState::Live);
    assert_eq!(stands(&mut stage, "gus", ADA).0, LinkState::Live);
    assert_eq!(names(&mut stage), ["photo"]);
}

/// A guest that was removed is refused, and so is who would join by its ticket; who has joined by it
/// stays.
#[test]
fn a_guest_is_removed_alone() {
    let gus = PeerId([4; 32]);
    let mut stage = four();
    remove(&mut stage, "ada", gus).unwrap();
    stage.wait(secs(60));
    let refused = Some(Refusal::Removed.to_string());
    assert_eq!(stands(&mut stage, "gus", ADA), (LinkState::Gone, refused));
    assert_eq!(stands(&mut stage, "bo", ADA).0, LinkState::Live);

    // Nobody has joined by this one.
    let mut ada = Side::host("ada");
    ada.config.invites.truncate(1);
    let mut guest = Side::joiner(3, "gus");
    guest.config.role = Role::Guest;
    let mut stage = Stage::of([ada, Side::joiner(1, "bo"), guest].into());
    stage.start("ada", Last::Clean);
    stage.start("gus", Last::Clean);
    stage.wait(secs(1));
    remove(&mut stage, "ada", gus).unwrap();
    stage.start("bo", Last::Clean);
    stage.wait(secs(1));
    let refused = Some(Refusal::NotPaired.to_string());
    assert_eq!(stands(&mut stage, "bo", ADA), (LinkState::Gone, refused));
}

/// Of a guest that is away only its binding is known; it can be removed all the same.
#[test]
fn a_guest_that_is_away_is_listed_and_removed() {
    let gus = PeerId([4; 32]);
    let mut stage = four();
    stage.kill("gus");
    stage.kill("ada");
    stage.start("ada", Last::Killed);
    stage.wait(secs(2));
    let away = of(&mut stage, "ada", gus).unwrap().status;
    assert_eq!((away.role, away.link), (Some(Role::Guest), LinkState::Gone));
    assert!(remove(&mut stage, "ada", gus).is_ok());
    assert!(is_removed(&mut stage, gus));
}

#[test]
fn what_can_not_be_removed_is_said() {
    let mut stage = four();
    assert_eq!(remove(&mut stage, "ada", ADA), Err(Unremoved::Oneself));
    assert_eq!(remove(&mut stage, "bo", BO), Err(Unremoved::Oneself));
    assert_eq!(remove(&mut stage, "bo", ADA), Err(Unremoved::NotShared));
    let nobody = PeerId([200; 32]);
    assert_eq!(remove(&mut stage, "ada", nobody), Err(Unremoved::Unknown));
    let ids = |stage: &mut Stage, name| -> Vec<PeerId> {
        let all = listed(stage, name).into_iter();
        all.map(|listed| listed.status.peer).collect()
    };
    assert_eq!(ids(&mut stage, "bo"), [ADA]);
    assert_eq!(ids(&mut stage, "ada"), [BO, CY, PeerId([4; 32])]);
    assert!(listed(&mut stage, "ada").iter().all(|one| !one.is_removed));
}

/// Bo wrote a file and was removed before ada had its bytes: nobody waits for them any more, and
/// whoever removed him is told which file that is. What cy makes counts as ever.
#[test]
fn what_a_removed_peer_alone_can_bring_is_not_waited_for() {
    let mut stage = four();
    stage.wait(secs(2));
    stage.hold("ada", Held::Chunks);
    make(&mut stage, "new");
    stage.wait(secs(1));
    let sync = |stage: &mut Stage| stage.side("ada").engine().sync_status();
    assert_eq!(sync(&mut stage).unheld, 1);
    let removed = remove(&mut stage, "ada", BO).unwrap();
    assert_eq!(removed.unheld, 1);
    assert_eq!(removed.waiting[0].path[0].to_string(), "new");
    stage.release("ada", Held::Chunks);
    stage.wait(secs(60));
    assert!(sync(&mut stage).synced, "{:?}", sync(&mut stage));
    assert_eq!(sync(&mut stage).peers.len(), 1);
    // As what he made is known after a start as well.
    stage.kill("ada");
    stage.start("ada", Last::Killed);
    stage.wait(secs(10));
    assert!(sync(&mut stage).synced, "{:?}", sync(&mut stage));
    assert!(!tree(&mut stage).contains_key("new"));
}

/// Bo is away for good, and ada was started again since: which versions are his is on record.
#[test]
fn what_a_peer_made_that_is_away_is_known_after_a_start() {
    let mut stage = four();
    stage.wait(secs(2));
    stage.hold("ada", Held::Chunks);
    make(&mut stage, "new");
    stage.wait(secs(1));
    stage.kill("bo");
    stage.release("ada", Held::Chunks);
    stage.kill("ada");
    stage.start("ada", Last::Killed);
    stage.wait(secs(10));
    let sync = |stage: &mut Stage| stage.side("ada").engine().sync_status();
    assert_eq!(sync(&mut stage).unheld, 1);
    assert_eq!(remove(&mut stage, "ada", BO).unwrap().unheld, 1);
    stage.wait(secs(10));
    assert!(sync(&mut stage).synced, "{:?}", sync(&mut stage));
}

/// Who may end a link with a word is the host: a joiner that says it breaks the rules.
#[test]
fn a_joiner_can_not_say_that_its_host_was_removed() {
    let mut stage = both();
    stage.wait(secs(1));
    let link = stage.links("ada")[0];
    stage.said("ada", link, Message::Refused(Refusal::Removed));
    assert!(matches!(
        stage.side("ada").faults[..],
        [Fault::Protocol { peer: BO, .. }]
    ));
    stage.wait(secs(5));
    assert_eq!(stands(&mut stage, "ada", BO).0, LinkState::Live);
}
