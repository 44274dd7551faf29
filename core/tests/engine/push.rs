//! A host that pushes: what is written to its folder comes to who joined it.

use tandem_core::action::WantState;
use tandem_core::engine::Last;
use tandem_core::event::Event;
use tandem_core::ids::{ObjectId, ReqId};
use tandem_core::tree::name::Name;

use crate::app::{both, secs};
use crate::bo::Bo;
use crate::stage::{Held, Stage, photo};

/// Ada shares `photo` and pushes; bo has joined her.
fn pushing() -> Stage {
    let mut stage = Stage::new(&["bo"]);
    stage.side("ada").files.write("photo", &photo());
    stage.side("ada").config.push = true;
    stage.start("ada", Last::Clean);
    stage.start("bo", Last::Clean);
    stage.wait(secs(1));
    stage
}

#[test]
fn what_is_written_to_the_folder_of_a_host_that_pushes_is_here_before_it_is_read() {
    let mut stage = pushing();
    assert_eq!(stage.side("bo").objects.count(), 0, "it was no news");
    stage.side("ada").files.write("photo", b"changed");
    stage.side("ada").files.write("new", &[7; 1_300]);
    stage.hint("photo");
    stage.hint("new");
    stage.wait(secs(5));
    assert_eq!(stage.side("bo").objects.count(), 2);
    stage.kill("ada");
    stage.wait(secs(60));
    for (name, bytes) in [("photo", b"changed".to_vec()), ("new", vec![7; 1_300])] {
        let fh = stage.open("bo", name);
        let req = stage.read("bo", fh, 0, 2_000);
        assert_eq!(stage.bytes("bo", req), bytes);
    }
}

#[test]
fn a_host_that_does_not_push_is_asked_for_what_is_read() {
    let mut stage = Stage::new(&["bo"]);
    stage.start("ada", Last::Clean);
    stage.start("bo", Last::Clean);
    stage.side("ada").files.write("new", &[7; 1_300]);
    stage.hint("new");
    stage.wait(secs(5));
    assert_eq!(stage.side("bo").objects.count(), 0);
}

/// What is pushed waits in a queue, a few files at once.
#[test]
fn many_files_are_pushed_one_after_the_other() {
    let mut stage = pushing();
    stage.hold("bo", Held::Chunks);
    for n in 0..20 {
        let name = format!("new{n}");
        stage.side("ada").files.write(&name, &[7; 1_300]);
        stage.hint(&name);
    }
    stage.wait(secs(2));
    let asked = |stage: &mut Stage| stage.trace().matches(": ask for ").count();
    assert_eq!(asked(&mut stage), 8 * 3);
    stage.release("bo", Held::Chunks);
    stage.wait(secs(5));
    assert_eq!(stage.side("bo").objects.count(), 20);
}

/// All of a file was wanted of which nobody has a part any more: it was asked for for ever.
#[test]
fn what_is_wanted_and_gone_is_given_up() {
    let mut stage = both();
    let mut cleo = Bo::join(&mut stage);
    cleo.listen(&mut stage);
    let node = cleo.find("photo");
    let version = cleo.write(node, &[9; 1_600]);
    cleo.has_only(ObjectId { node, version }, &[]);
    cleo.tell(&mut stage);
    cleo.attend(&mut stage);
    let req = ReqId(stage.draw());
    let path = vec![Name::parse(b"photo").unwrap()];
    stage.event("bo", Event::Want { req, path });
    for _ in 0..20 {
        cleo.attend(&mut stage);
    }
    let (last, state) = *stage.side("bo").wanted.last().unwrap();
    assert_eq!((last, state), (req, WantState::Failed));
}
