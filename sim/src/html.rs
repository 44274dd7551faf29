//! A run as one page to look at: a space-time diagram with peers as columns, time downwards,
//! messages as arrows, faults, chunk maps as they fill, and the judgement.
//!
//! Law: the page is one file and asks for nothing outside of itself. It shows what the tale
//! holds and computes nothing that the tale does not say.

use std::fmt::Write;

use crate::check::Failure;
use crate::tale::chunks::State;
use crate::tale::{Item, Tale, Topic};
use crate::world::World;

const PAGE: &str = include_str!("html/page.html");
const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = concat!(
    include_str!("html/layout.js"),
    include_str!("html/draw.js"),
    include_str!("html/side.js"),
    include_str!("html/hands.js"),
);

/// What a page says of its run.
#[derive(Clone, Debug)]
pub struct About {
    /// Its title.
    pub title: String,
    /// A sentence below it.
    pub lead: String,
    /// The command that makes the page again.
    pub again: String,
}

/// A page to be.
#[derive(Debug)]
pub struct Page {
    about: About,
    failure: Option<Failure>,
    hash: u64,
    events: u64,
    end: u64,
    peers: Vec<&'static str>,
    tale: Tale,
}

impl Page {
    /// Returns the page of a world that kept a tale, which it takes out of it.
    pub fn of(world: &mut World, about: About, failure: Option<Failure>) -> Self {
        let tale = world.trace.tale.take();
        Self {
            about,
            failure,
            hash: world.trace.hash(),
            events: world.events,
            end: world.now,
            peers: world.peers.iter().map(|peer| peer.name).collect(),
            tale: tale.map_or_else(|| Tale::new(world.config.chunk_size), |tale| *tale),
        }
    }

    /// Returns the page as text.
    pub fn render(&self) -> String {
        let mut title = String::new();
        for c in self.about.title.chars() {
            match c {
                '<' => title.push_str("&lt;"),
                '&' => title.push_str("&amp;"),
                other => title.push(other),
            }
        }
        // The run comes last: what it says is never searched for another mark.
        let (head, tail) = PAGE.split_once("/*RUN*/").unwrap_or((PAGE, ""));
        let fill = |part: &str| {
            part.replace("<!--TITLE-->", &title)
                .replace("/*STYLE*/", STYLE)
                .replace("/*SCRIPT*/", SCRIPT)
        };
        format!("{}{}{}", fill(head), self.run(), fill(tail))
    }

    /// The run as JSON; times in microseconds.
    fn run(&self) -> String {
        let mut out = String::from("{");
        let about = &self.about;
        out.push_str("\"title\":");
        text(&mut out, &about.title);
        out.push_str(",\"lead\":");
        text(&mut out, &about.lead);
        out.push_str(",\"again\":");
        text(&mut out, &about.again);
        put(
            &mut out,
            format_args!(
                ",\"hash\":\"{:016x}\",\"events\":{},",
                self.hash, self.events
            ),
        );
        put(
            &mut out,
            format_args!("\"end\":{},\"failure\":", micros(self.end)),
        );
        match &self.failure {
            None => out.push_str("null"),
            Some(failure) => {
                put(&mut out, format_args!("{{\"at\":{}", micros(failure.at)));
                put(
                    &mut out,
                    format_args!(",\"kind\":\"{:?}\",\"promise\":", failure.kind),
                );
                text(&mut out, failure.promise);
                out.push_str(",\"what\":");
                text(&mut out, &failure.what);
                out.push('}');
            }
        }
        list(&mut out, "peers", &self.peers, |out, name| text(out, name));
        let tale = &self.tale;
        list(&mut out, "turns", &tale.turns, |out, turn| {
            put(out, format_args!("[{},", micros(turn.at)));
            match turn.peer {
                Some(peer) => put(out, format_args!("{peer},")),
                None => out.push_str("-1,"),
            }
            item(out, &turn.what);
            out.push_str(",[");
            for (n, then) in turn.then.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                out.push('[');
                item(out, then);
                out.push(']');
            }
            out.push(']');
            if turn.between.is_some() || turn.until.is_some() {
                let until = turn
                    .until
                    .map_or(-1, |until| i64::try_from(micros(until)).unwrap_or(-1));
                put(out, format_args!(",{until}"));
                if let Some((a, b)) = turn.between {
                    put(out, format_args!(",{a},{b}"));
                }
            }
            out.push(']');
        });
        list(&mut out, "arrows", &tale.arrows, |out, arrow| {
            put(
                out,
                format_args!("[{},{},{},", arrow.from, arrow.to, micros(arrow.sent)),
            );
            match arrow.ended {
                Some(ended) => put(out, format_args!("{},", micros(ended))),
                None => out.push_str("-1,"),
            }
            let lane = arrow.lane.map_or(-1, i64::from);
            let heard = u8::from(arrow.heard);
            put(
                out,
                format_args!("{heard},{},{lane},{},", arrow.link, arrow.bytes),
            );
            text(out, &arrow.label);
            out.push(']');
        });
        list(&mut out, "lives", &tale.lives, |out, life| {
            let to = life
                .to
                .map_or(-1, |to| i64::try_from(micros(to)).unwrap_or(-1));
            let (peer, boot, from) = (life.peer, life.boot, micros(life.from));
            put(out, format_args!("[{peer},{boot},{from},{to}]"));
        });
        let maps: Vec<_> = tale.maps.iter().collect();
        list(&mut out, "maps", &maps, |out, map| {
            put(out, format_args!("{{\"peer\":{},\"name\":", map.peer));
            let object = format!("{:?}", map.object);
            text(out, tale.names.get(&map.object.node).unwrap_or(&object));
            out.push_str(",\"object\":");
            text(out, &object);
            put(out, format_args!(",\"chunks\":{}", map.chunks.len()));
            list(out, "steps", &map.steps, |out, step| {
                let state = state(step.state);
                put(
                    out,
                    format_args!("[{},{},{state}]", micros(step.at), step.chunk),
                );
            });
            out.push('}');
        });
        out.push('}');
        out
    }
}

fn micros(nanos: u64) -> u64 {
    nanos / 1_000
}

fn topic(topic: Topic) -> u8 {
    match topic {
        Topic::Call => 0,
        Topic::Link => 1,
        Topic::Chunk => 2,
        Topic::Disk => 3,
        Topic::Fault => 4,
    }
}

fn state(state: State) -> u8 {
    match state {
        State::Absent => 0,
        State::Asked => 1,
        State::Here => 2,
        State::Durable => 3,
        State::Claimed => 4,
    }
}

fn item(out: &mut String, item: &Item) {
    put(out, format_args!("{},", topic(item.topic)));
    text(out, &item.title);
    out.push(',');
    // Where the line says no more than the words, it is left out.
    text(
        out,
        if item.text == item.title {
            ""
        } else {
            &item.text
        },
    );
}

fn list<T>(out: &mut String, name: &str, items: &[T], mut one: impl FnMut(&mut String, &T)) {
    put(out, format_args!(",\"{name}\":["));
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        one(out, item);
    }
    out.push(']');
}

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing into a string can't fail.
    let _ = out.write_fmt(what);
}

/// A string of JSON that may stand in a script: no `<`, nothing that ends a line.
fn text(out: &mut String, what: &str) {
    out.push('"');
    for c in what.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '<' | '\u{2028}' | '\u{2029}' => put(out, format_args!("\\u{:04x}", u32::from(c))),
            c if c < ' ' => put(out, format_args!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_the_script_or_its_string() {
        let mut out = String::new();
        text(&mut out, "a\"b\\c</script>\n\u{2028}é");
        assert_eq!(out, "\"a\\\"b\\\\c\\u003c/script>\\u000a\\u2028é\"");
    }
}
