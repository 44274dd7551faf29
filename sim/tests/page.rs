//! A page of a run: it is told by the run and by nothing else, and is one file.

use std::collections::BTreeSet;

use tandem_sim::run::{recorded, run};
use tandem_sim::story::{CHUNKS, STORIES};
use tandem_sim::tale::chunks::State;

#[test]
fn a_download_resumed_after_three_cuts_asks_again_only_for_what_was_under_way() {
    let story = STORIES.iter().find(|s| s.name == "resumed-download");
    let (world, verdict) = story.unwrap().play();
    assert_eq!(verdict, Ok(()));
    let tale = world.trace.tale.as_ref().unwrap();
    let map = tale.maps.iter().find(|map| map.chunks.len() == CHUNKS);
    let map = map.unwrap();
    assert!(map.chunks.iter().all(|state| *state == State::Durable));
    let stored = map.steps.iter().filter(|step| step.state == State::Here);
    let stored: BTreeSet<_> = stored.map(|step| step.chunk).collect();
    assert_eq!(stored.len(), CHUNKS);
    // A chunk that was asked for became absent again only with a cut, and was not here.
    let lost = map.steps.iter().filter(|step| step.state == State::Absent);
    let asked = world.peers[1].resume.fetches();
    assert_eq!(asked, CHUNKS as u64 + lost.count() as u64);
    let cuts = tale
        .turns
        .iter()
        .filter(|turn| turn.what.title.ends_with("is cut"));
    assert_eq!(cuts.count(), 3);
}

#[test]
fn telling_a_run_does_not_change_it() {
    for seed in 0..12 {
        let (told, page) = recorded(seed, &[], None);
        assert_eq!(told.hash, run(seed, &[], false).hash, "seed {seed:#x}");
        assert!(page.render().len() > 10_000);
    }
}

#[test]
fn a_page_is_one_file_and_asks_for_nothing() {
    let page = recorded(5, &[], None).1.render();
    for mark in [
        "http:", "https:", "src=", "@import", "url(", "<link", "fetch(",
    ] {
        assert!(!page.contains(mark), "{mark} in a page");
    }
    for mark in ["/*RUN*/", "/*STYLE*/", "/*SCRIPT*/", "<!--TITLE-->"] {
        assert!(!page.contains(mark), "{mark} was not filled in");
    }
    assert_eq!(page.matches("</script>").count(), 1);
}
