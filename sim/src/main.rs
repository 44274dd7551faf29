//! `tandem-sim`: runs seeds, and says how to see again what went wrong.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tandem_sim::config::WRITING;
use tandem_sim::html::Page;
use tandem_sim::hunt::{self, Progress, Until};
use tandem_sim::knobs;
use tandem_sim::reach::{self, Reach};
use tandem_sim::run;
use tandem_sim::shrink::shrink;
use tandem_sim::story::STORIES;

const USAGE: &str = "usage:
  tandem-sim run --seed 0x5eed [--trace] [--shrink] [--without 3,17] [--html FILE]
  tandem-sim story NAME [--html FILE]
  tandem-sim alone [--seed 0x5eed [--trace] [--without 3,17]] [--from 0] [--count 1000] [--keep-going]
  tandem-sim runs [--from 0] [--count 1000] [--keep-going] [--coverage]
  tandem-sim hash [--from 0] [--count 1000]
  tandem-sim hunt [--minutes 10] [--seeds N] [--from SEED] [--jobs N] [--keep-going] [--coverage]
  --writing, with any of them: applications edit on the mounts, too
  tandem-sim mutants [--jobs N]     (a build with --features mutants)
";

/// Runs that shrinking may take: seconds, by eye.
const SHRINK_RUNS: u32 = 1000;

/// Lines at the end of a trace that tell what happened, mostly: a screen.
const STORY_LINES: usize = 60;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let writing = words.contains(&"--writing");
    WRITING.store(writing, Ordering::Relaxed);
    let result = match words.split_first() {
        Some((&"run", rest)) => one(rest),
        Some((&"runs", rest)) => many(rest),
        Some((&"alone", rest)) => alone(rest),
        Some((&"story", rest)) => told(rest),
        Some((&"hash", rest)) => hash(rest),
        Some((&"hunt", rest)) => go_hunting(rest),
        #[cfg(feature = "mutants")]
        Some((&"mutants", rest)) => all_mutants(rest),
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
    let off: Option<Vec<u32>> = off
        .split(',')
        .filter(|part| !part.is_empty())
        .map(knobs::parse)
        .collect();
    let mut off = off.ok_or("--without: a number of a planned event, or the name of a knob")?;
    let mut without = match value(words, "--without") {
        Some(text) => format!(" --without {text}"),
        None => String::new(),
    };
    let keep_trace = words.contains(&"--trace");
    let mut outcome = run::run(seed, &off, keep_trace);
    if words.contains(&"--shrink") && outcome.failure.is_some() {
        off.extend(shrink(&outcome, SHRINK_RUNS).1);
        outcome = run::run(seed, &off, keep_trace);
        without = written(&off);
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

fn written(off: &[u32]) -> String {
    let words: Vec<String> = off.iter().copied().map(knobs::name).collect();
    if words.is_empty() {
        String::new()
    } else {
        format!(" --without {}", words.join(","))
    }
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
            let fired: Vec<String> = outcome.fired.iter().copied().map(knobs::name).collect();
            say(&format!("what was on: {}", fired.join(", ")));
            say(&format!(
                "again: cargo run -p tandem-sim --release -- run --seed {seed:#x}{without} --trace"
            ));
            failure.kind.code()
        }
    }
}

/// Runs in which a joiner edits while nobody is there.
fn alone(words: &[&str]) -> Result<u8, String> {
    let off = value(words, "--without").unwrap_or_default().split(',');
    let off: Vec<u32> = off.filter_map(knobs::parse).collect();
    let one = value(words, "--seed").map(number).transpose()?;
    let from = number(value(words, "--from").unwrap_or("0"))?;
    let count = number(value(words, "--count").unwrap_or("1000"))?;
    let seeds = one.map_or(from..from + count, |seed| seed..seed + 1);
    let (mut reach, mut failed) = (Reach::default(), 0);
    for seed in seeds {
        let outcome = run::run_alone(seed, &off, words.contains(&"--trace"));
        outcome.lines.iter().for_each(|line| say(line));
        reach.merge(&outcome.reach);
        if let Some(failure) = &outcome.failure {
            failed += 1;
            say(&format!("alone, seed {seed:#x}: {failure}"));
            say(&format!(
                "again: cargo run -p tandem-sim --release -- alone --seed {seed:#x} --trace"
            ));
            if !words.contains(&"--keep-going") {
                return Ok(failure.kind.code());
            }
        }
    }
    say(&format!("{failed} failed"));
    if words.contains(&"--coverage") {
        reach
            .iter()
            .for_each(|(mark, count)| say(&format!("{count:>9} {mark}")));
    }
    Ok(u8::from(failed > 0) * 11)
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
            worst = worst.max(report(&outcome, ""));
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
        coverage(&reach);
    }
    Ok(worst)
}

/// Says one hash over the traces of a range: to compare processes, profiles and machines.
fn hash(words: &[&str]) -> Result<u8, String> {
    let from = number(value(words, "--from").unwrap_or("0"))?;
    let count = number(value(words, "--count").unwrap_or("1000"))?;
    let mut all = 0_u64;
    for seed in from..from + count {
        all = all.rotate_left(7) ^ run::run(seed, &[], false).hash;
    }
    say(&format!("{all:016x}  {count} seeds from {from:#x}"));
    Ok(0)
}

fn coverage(reach: &Reach) {
    for (mark, hits) in reach.iter() {
        say(&format!("{hits:>9}  {mark}"));
    }
    let expected = reach::expected();
    for mark in expected.iter().filter(|mark| reach.count(mark) == 0) {
        say(&format!("    never  {mark}"));
    }
    let (met, all) = reach::met(reach);
    say(&format!("{met} of {all} marks"));
}

fn jobs(words: &[&str]) -> Result<usize, String> {
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = value(words, "--jobs").map(number).transpose()?;
    Ok(wanted.map_or(all, |jobs| usize::try_from(jobs).unwrap_or(all)))
}

fn go_hunting(words: &[&str]) -> Result<u8, String> {
    let from = value(words, "--from").map(number).transpose()?;
    let seeds = value(words, "--seeds").map(number).transpose()?;
    let minutes = value(words, "--minutes").map(number).transpose()?;
    let minutes = minutes.or(seeds.is_none().then_some(10));
    let until = Until {
        seeds: seeds.unwrap_or(u64::MAX),
        time: minutes.map_or(Duration::MAX, |minutes| Duration::from_secs(60 * minutes)),
        keep_going: words.contains(&"--keep-going"),
    };
    let from = from.unwrap_or_else(hunt::fresh);
    let tell = |progress: &Progress| {
        let (met, all) = reach::met(&progress.reach);
        // Nothing is left to be done when stderr is closed.
        let _ = write!(
            io::stderr(),
            "\r{:>7.0} s  {} seeds  {:.0} seeds/s  {:.0} events/s  {met} of {all} marks ",
            progress.time.as_secs_f64(),
            progress.seeds,
            progress.seeds_per_sec(),
            progress.events_per_sec(),
        );
    };
    let (progress, failed) = hunt::hunt(from, until, jobs(words)?, tell);
    let _ = writeln!(io::stderr());
    let (met, all) = reach::met(&progress.reach);
    say(&format!(
        "{} seeds from {from:#x} in {:.0} s: {:.0} seeds/s, {:.0} events/s, {met} of {all} marks",
        progress.seeds,
        progress.time.as_secs_f64(),
        progress.seeds_per_sec(),
        progress.events_per_sec(),
    ));
    if words.contains(&"--coverage") {
        coverage(&progress.reach);
    }
    match failed.as_slice() {
        [] => Ok(0),
        [failed] => Ok(tell_story(failed)),
        many => Ok(many
            .iter()
            .map(|failed| report(failed, ""))
            .max()
            .unwrap_or(0)),
    }
}

/// Shrinks a failure and tells its shortest story: the end of its trace.
fn tell_story(failed: &run::Outcome) -> u8 {
    say(&format!("seed {:#x} failed; shrinking", failed.seed));
    let off = shrink(failed, SHRINK_RUNS).1;
    let shortest = run::run(failed.seed, &off, true);
    let from = shortest.lines.len().saturating_sub(STORY_LINES);
    for line in &shortest.lines[from..] {
        say(line);
    }
    report(&shortest, &written(&off))
}

#[cfg(feature = "mutants")]
fn all_mutants(words: &[&str]) -> Result<u8, String> {
    let jobs = jobs(words)?;
    let mut missed = 0;
    say("| mutant | seed | promise | what the oracle said |");
    say("|---|---|---|---|");
    for mutant in tandem_core::mutant::Mutant::ALL {
        let Some(found) = tandem_sim::mutants::find(mutant, jobs) else {
            missed = 11;
            say(&format!("| {mutant:?} | not found | | |"));
            continue;
        };
        if let Some(failure) = &found.failure {
            let (seed, kind, promise) = (found.seed, failure.kind, failure.promise);
            let what = &failure.what;
            say(&format!(
                "| {mutant:?} | {seed:#x} | {promise} ({kind:?}) | {what} |"
            ));
        }
    }
    Ok(missed)
}
