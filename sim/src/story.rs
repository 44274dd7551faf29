//! Stories worth looking at: short runs that are played on purpose, and shown as a page.
//!
//! Law: a story has no chance in it but that of its fixed seed, and ends with the judgement that
//! every run ends with.

use std::sync::Arc;

use tandem_core::action::WantState;

use crate::check::{Failure, Kind, Verdict};
use crate::choices::{Choices, Key};
use crate::config::{Config, MS, SEC};
use crate::disk::folder::Node;
use crate::html::{About, Page};
use crate::outside::name;
use crate::world::World;

/// A story.
#[derive(Clone, Copy, Debug)]
pub struct Story {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is about.
    pub lead: &'static str,
    config: fn() -> Config,
    plot: fn(&mut World) -> Verdict,
}

/// All of them.
pub const STORIES: &[Story] = &[Story {
    name: "resumed-download",
    lead: "One file of 96 chunks is wanted on ada. The link is cut, then dies without a word, \
           then ada is killed with it. What had arrived is not asked for again.",
    config: slow_wire,
    plot: resumed_download,
}];

/// Chunks of the file of the resumed download.
pub const CHUNKS: usize = 96;

/// The peer that downloads.
const ADA: usize = 1;

impl Story {
    /// Plays it; returns the world at its end, and what the oracles say.
    pub fn play(&self) -> (World, Verdict) {
        let mut world = World::new((self.config)(), Choices::new(3), false);
        world.record();
        let verdict = (self.plot)(&mut world);
        (world, verdict)
    }

    /// Returns the page of a story that was played.
    pub fn page(&self, world: &mut World, failure: Option<Failure>) -> Page {
        let about = About {
            title: self.name.replace('-', " "),
            lead: self.lead.to_owned(),
            again: format!("tandem-sim story {} --html page.html", self.name),
        };
        Page::of(world, about, failure)
    }
}

/// A wire on which a chunk takes 40 ms, so that a download has time to be cut.
fn slow_wire() -> Config {
    Config {
        byte_time: 10_000,
        latency: 20 * MS,
        heartbeat: SEC,
        ..Config::quiet()
    }
}

fn resumed_download(world: &mut World) -> Verdict {
    let chunk = world.config.chunk_size as usize;
    let mut chance = world.choices.stream(Key::Folder);
    let film = Node::File(Arc::new(chance.bytes(CHUNKS * chunk - 999)));
    let wall = world.wall();
    let path = vec![name("film.mkv")];
    world.folder.at(wall).place(&path, film, 0o644);
    world.start_all()?;
    world.run_for(SEC)?;
    world.want_path(ADA, path.clone())?;

    until_held(world, CHUNKS / 4)?;
    cut(world);

    until_held(world, CHUNKS / 2)?;
    // Both sides learn of it only by the silence.
    world.config.half_open = 1000;
    cut(world);
    world.config.half_open = 0;

    until_held(world, CHUNKS * 3 / 4)?;
    cut(world);
    world.drop_engine(ADA, false);
    world.run_for(SEC)?;
    world.restart(ADA)?;
    // A want dies with its process; whoever wanted it asks again.
    world.run_for(SEC)?;
    let want = world.want_path(ADA, path)?;
    world.settle()?;
    match world.ended(ADA, want) {
        Some(WantState::Done { .. }) => {}
        other => {
            let what = format!("the download ends with {other:?}");
            return Err(Failure::new(Kind::Liveness, "P9", what));
        }
    }
    world.judge_end()
}

/// Lets time pass until ada has so many chunks.
fn until_held(world: &mut World, chunks: usize) -> Verdict {
    for _ in 0..6_000 {
        if world.peers[ADA].resume.held() >= chunks {
            return Ok(());
        }
        world.run_for(10 * MS)?;
    }
    let what = format!("{chunks} chunks are not here after a minute");
    Err(Failure::new(Kind::Liveness, "P9", what))
}

fn cut(world: &mut World) {
    let links: Vec<usize> = world.links().collect();
    for at in links {
        world.cut_link(at);
    }
}
