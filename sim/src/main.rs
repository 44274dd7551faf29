//! `tandem-sim`: runs seeds, and says how to see again what went wrong.

use std::io::{self, Write};
use std::process::ExitCode;

use tandem_sim::html::Page;
use tandem_sim::reach::Reach;
use tandem_sim::run;
use tandem_sim::shrink::shrink;
use tandem_sim::story::STORIES;

const USAGE: &str = "usage:
  tandem-sim run --seed 0x5eed [--trace] [--shrink] [--without 3,17] [--html FILE]
  tandem-sim story NAME [--html FILE]
  tandem-sim runs [--from 0] [--count 1000] [--keep-going] [--coverage]
";

/// Runs that shrinking may take: seconds, by eye.
const SHRINK_RUNS: u32 = 1000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.split_first() {
        Some((&"run", rest)) => one(rest),
        Some((&"runs", rest)) => many(rest),
        Some((&"story", rest)) => told(rest),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Nothing is left to be done when stderr is closed.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::from(1)
        }
    }
}

fn value<'a>(words: &[&'a str], flag: &str) -> Option<&'a str> {
    let at = words.iter().position(|word| *word == flag)?;
    words.get(at + 1).copied()
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| format!("{text:?} is no number: {error}"))
}

fn say(text: &str) {
    // Nothing is left to be done when stdout is closed.
    let _ = writeln!(io::stdout().lock(), "{text}");
}

fn one(words: &[&str]) -> Result<u8, String> {
    let seed = number(value(words, "--seed").ok_or(USAGE)?)?;
    let off = value(words, "--without").unwrap_or_default();
    let off: Result<Vec<u32>, _> = off
        .split(',')
        .filter(|part| !part.is_empty())
        .map(str::parse)
        .collect();
    let mut off = off.map_err(|error| format!("--without: {error}"))?;
    let mut without = match value(words, "--without") {
        Some(text) => format!(" --without {text}"),
        None => String::new(),
    };
    let keep_trace = words.contains(&"--trace");
    let mut outcome = run::run(seed, &off, keep_trace);
    if words.contains(&"--shrink") && outcome.failure.is_some() {
        off.extend(shrink(&outcome, SHRINK_RUNS).1);
        outcome = run::run(seed, &off, keep_trace);
        let words: Vec<String> = off.iter().map(u32::to_string).collect();
        if !words.is_empty() {
            without = format!(" --without {}", words.join(","));
        }
    }
    for line in &outcome.lines {
        say(line);
    }
    if let Some(file) = value(words, "--html") {
        save(file, &run::recorded(seed, &off).1)?;
    }
    Ok(report(&outcome, &without))
}

fn save(file: &str, page: &Page) -> Result<(), String> {
    std::fs::write(file, page.render()).map_err(|error| format!("{file}: {error}"))
}

fn told(words: &[&str]) -> Result<u8, String> {
    let name = words.first().copied().unwrap_or_default();
    let Some(story) = STORIES.iter().find(|story| story.name == name) else {
        let names: Vec<_> = STORIES.iter().map(|story| story.name).collect();
        return Err(format!(
            "there is no story {name:?}; there are: {}",
            names.join(", ")
        ));
    };
    let (mut world, verdict) = story.play();
    let failure = verdict.err();
    let code = match &failure {
        None => {
            say(&format!("{name}: {} events, all held", world.events));
            0
        }
        Some(failure) => {
            say(&format!("{name}: {failure}"));
            failure.kind.code()
        }
    };
    if let Some(file) = value(words, "--html") {
        save(file, &story.page(&mut world, failure))?;
    }
    Ok(code)
}

fn report(outcome: &run::Outcome, without: &str) -> u8 {
    let (seed, hash, events) = (outcome.seed, outcome.hash, outcome.events);
    match &outcome.failure {
        None => {
            say(&format!(
                "seed {seed:#x}: {events} events, trace {hash:016x}"
            ));
            0
        }
        Some(failure) => {
            say(&format!("seed {seed:#x}: {failure}"));
            say(&format!(
                "planned events that happened: {:?}",
                outcome.fired
            ));
            say(&format!(
                "again: cargo run -p tandem-sim --release -- run --seed {seed:#x}{without} --trace"
            ));
            failure.kind.code()
        }
    }
}

fn many(words: &[&str]) -> Result<u8, String> {
    let from = number(value(words, "--from").unwrap_or("0"))?;
    let count = number(value(words, "--count").unwrap_or("1000"))?;
    let (mut reach, mut events, mut worst, mut failed) = (Reach::default(), 0, 0, 0);
    let start = std::time::Instant::now();
    for seed in from..from + count {
        let outcome = run::run_twice(seed);
        reach.merge(&outcome.reach);
        events += 2 * outcome.events;
        if outcome.failure.is_some() {
            failed += 1;
            worst = report(&outcome, "");
            if !words.contains(&"--keep-going") {
                return Ok(worst);
            }
        }
    }
    let secs = start.elapsed().as_secs_f64();
    say(&format!(
        "{count} seeds, each twice, {failed} failed; {events} events in {secs:.1} s"
    ));
    if words.contains(&"--coverage") {
        for (mark, hits) in reach.iter() {
            say(&format!("{hits:>9}  {mark}"));
        }
        for mark in tandem_sim::reach::EXPECTED {
            if reach.count(mark) == 0 {
                say(&format!("    never  {mark}"));
            }
        }
    }
    Ok(worst)
}
