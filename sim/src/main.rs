//! `tandem-sim`: runs seeds, and says how to see again what went wrong.

use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tandem_sim::config::{FAR, SETTLING, WRITING};
use tandem_sim::html::Page;
use tandem_sim::hunt::{self, Progress, Until};
use tandem_sim::knobs;
use tandem_sim::reach::{self, Reach};
use tandem_sim::run::{self, Cut};
use tandem_sim::shrink::shrink;
use tandem_sim::story::STORIES;

/// Runs seeds of the simulator.
///
/// Exit codes: 0 all held; 1 usage; 10 the core panicked; 11 safety; 12 liveness; 13 convergence;
/// 14 determinism; 15 the simulator panicked.
#[derive(Debug, Parser)]
#[command(name = "tandem-sim")]
struct Cli {
    /// Let applications edit on the mounts, too.
    #[arg(long, global = true)]
    writing: bool,
    /// Let users settle conflicts, too, where applications edit on the mounts.
    #[arg(long, global = true)]
    settling: bool,
    /// Let syncs of some joiners wait for another machine, too.
    #[arg(long, global = true)]
    far: bool,
    /// Plant a fault in every engine.
    #[cfg(feature = "mutants")]
    #[arg(long, global = true, value_parser = planted, conflicts_with = "only")]
    plant: Option<tandem_core::mutant::Mutant>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Play one seed.
    Run {
        /// Which: decimal, or hexadecimal with 0x.
        #[arg(long, value_parser = number)]
        seed: u64,
        /// Print every event and action, a line each.
        #[arg(long)]
        trace: bool,
        /// Leave out as many planned events as can be with which it still fails.
        #[arg(long)]
        shrink: bool,
        /// Planned events, by number, and knobs, by name, that are left out: 3,17,half-open.
        #[arg(long, value_delimiter = ',', value_parser = knob)]
        without: Vec<u32>,
        /// Take the power of a peer after so many of its actions: 0:217, of which 0 is the host.
        #[arg(long)]
        cut: Option<Cut>,
        /// Write the run to a page.
        #[arg(long)]
        html: Option<PathBuf>,
    },
    /// Play a story.
    Story {
        /// Which.
        name: String,
        /// Write it to a page.
        #[arg(long)]
        html: Option<PathBuf>,
    },
    /// Play seeds in which a joiner edits while nobody is there.
    Alone {
        /// Only this one: decimal, or hexadecimal with 0x.
        #[arg(long, value_parser = number, conflicts_with_all = ["from", "count"])]
        seed: Option<u64>,
        /// Print every event and action, a line each.
        #[arg(long)]
        trace: bool,
        /// Planned events, by number, and knobs, by name, that are left out.
        #[arg(long, value_delimiter = ',', value_parser = knob)]
        without: Vec<u32>,
        #[command(flatten)]
        range: Range,
        #[command(flatten)]
        how: How,
    },
    /// Play a range of seeds, each twice.
    Runs {
        #[command(flatten)]
        range: Range,
        #[command(flatten)]
        how: How,
    },
    /// Play seeds again and again, each time with the power of one peer cut between two actions.
    Boundaries {
        #[command(flatten)]
        range: Range,
        /// At every so many actions.
        #[arg(long, value_parser = some, default_value = "1")]
        every: u64,
        /// How many at once, instead of one for each core.
        #[arg(long, value_parser = some)]
        jobs: Option<u64>,
    },
    /// Print one hash over the traces of a range: to compare processes, profiles and machines.
    Hash {
        #[command(flatten)]
        range: Range,
    },
    /// Play fresh seeds on all cores until one fails, or the time is over.
    Hunt {
        /// For how long; 10, unless a number of seeds is given.
        #[arg(long, value_parser = some)]
        minutes: Option<u64>,
        /// How many seeds.
        #[arg(long, value_parser = some)]
        seeds: Option<u64>,
        /// From which on, instead of fresh ones.
        #[arg(long, value_parser = number)]
        from: Option<u64>,
        /// How many at once, instead of one for each core.
        #[arg(long, value_parser = some)]
        jobs: Option<u64>,
        #[command(flatten)]
        how: How,
    },
    /// Plant one fault after the other in every engine, and find it.
    #[cfg(feature = "mutants")]
    Mutants {
        /// Only this one, by its name in the table.
        #[arg(long, value_parser = planted)]
        only: Option<tandem_core::mutant::Mutant>,
        /// How many seeds at once, instead of one for each core.
        #[arg(long, value_parser = some)]
        jobs: Option<u64>,
    },
}

#[derive(Clone, Copy, Debug, Args)]
struct Range {
    /// The first seed.
    #[arg(long, value_parser = number, default_value = "0")]
    from: u64,
    /// How many seeds.
    #[arg(long, value_parser = some, default_value = "1000")]
    count: u64,
}

impl Range {
    fn seeds(self) -> Result<RangeInclusive<u64>, String> {
        let last = self.from.checked_add(self.count - 1);
        let last = last.ok_or_else(|| {
            let (from, count) = (self.from, self.count);
            format!(
                "{count} seeds from {from:#x} on go beyond the last, {:#x}",
                u64::MAX
            )
        })?;
        Ok(self.from..=last)
    }
}

#[derive(Clone, Copy, Debug, Args)]
struct How {
    /// Go on after a failure.
    #[arg(long)]
    keep_going: bool,
    /// Show how often each mark was reached.
    #[arg(long)]
    coverage: bool,
}

/// Runs that shrinking may take: seconds, by eye.
const SHRINK_RUNS: u32 = 1000;

/// Lines at the end of a trace that tell what happened, mostly: a screen.
const STORY_LINES: usize = 60;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to be done when the stream is closed.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    WRITING.store(cli.writing, Ordering::Relaxed);
    SETTLING.store(cli.settling, Ordering::Relaxed);
    FAR.store(cli.far, Ordering::Relaxed);
    #[cfg(feature = "mutants")]
    if let Some(mutant) = cli.plant {
        tandem_sim::mutants::PLANTED.get_or_init(|| mutant);
    }
    let result = match cli.command {
        Command::Run {
            seed,
            trace,
            shrink,
            without,
            cut,
            html,
        } => one(seed, trace, shrink, without, cut, html.as_deref()),
        Command::Story { name, html } => told(&name, html.as_deref()),
        Command::Alone {
            seed,
            trace,
            without,
            range,
            how,
        } => {
            let seeds = seed.map_or_else(|| range.seeds(), |seed| Ok(seed..=seed));
            seeds.map(|seeds| alone(seeds, trace, &without, how))
        }
        Command::Runs { range, how } => range.seeds().map(|seeds| many(seeds, how)),
        Command::Boundaries { range, every, jobs } => {
            let seeds = range.seeds();
            seeds.map(|seeds| boundaries(seeds, every, cores(jobs)))
        }
        Command::Hash { range } => range.seeds().map(|seeds| hash(range, seeds)),
        Command::Hunt {
            minutes,
            seeds,
            from,
            jobs,
            how,
        } => {
            let minutes = minutes.or(seeds.is_none().then_some(10));
            let until = Until {
                seeds: seeds.unwrap_or(u64::MAX),
                time: minutes.map_or(Duration::MAX, |minutes| {
                    Duration::from_secs(minutes.saturating_mul(60))
                }),
                keep_going: how.keep_going,
            };
            let from = from.unwrap_or_else(hunt::fresh);
            Ok(go_hunting(from, until, cores(jobs), how.coverage))
        }
        #[cfg(feature = "mutants")]
        Command::Mutants { only, jobs } => Ok(all_mutants(only, cores(jobs))),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Nothing is left to be done when stderr is closed.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(1)
        }
    }
}

fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| error.to_string())
}

fn some(text: &str) -> Result<u64, String> {
    match number(text)? {
        0 => Err("at least 1 is needed".to_owned()),
        some => Ok(some),
    }
}

fn knob(text: &str) -> Result<u32, String> {
    let none = || "neither the number of a planned event nor the name of a knob".to_owned();
    knobs::parse(text).ok_or_else(none)
}

#[cfg(feature = "mutants")]
fn planted(name: &str) -> Result<tandem_core::mutant::Mutant, String> {
    use tandem_core::mutant::Mutant;

    let names = || Mutant::ALL.map(|mutant| format!("{mutant:?}")).join(", ");
    tandem_sim::mutants::named(name).ok_or_else(|| format!("there are only: {}", names()))
}

fn cores(wanted: Option<u64>) -> usize {
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = wanted.map(|wanted| usize::try_from(wanted).unwrap_or(usize::MAX));
    wanted.unwrap_or_else(all)
}

fn say(text: &str) {
    // Nothing is left to be done when stdout is closed.
    let _ = writeln!(io::stdout().lock(), "{text}");
}

fn one(
    seed: u64,
    keep_trace: bool,
    is_shrunk: bool,
    mut off: Vec<u32>,
    cut: Option<Cut>,
    html: Option<&Path>,
) -> Result<u8, String> {
    if let Some(none) = run::unplanned(seed, &off) {
        return Err(format!(
            "seed {seed:#x} plans no event {none}: it can't be left out"
        ));
    }
    let mut outcome = run::run_cut(seed, &off, cut, keep_trace);
    if is_shrunk {
        match &outcome.failure {
            Some(failure) => {
                say(&format!("seed {seed:#x}: {failure}"));
                off = shortest(&outcome, &off);
                outcome = run::run_cut(seed, &off, cut, keep_trace);
            }
            None => say("nothing failed: nothing is left out"),
        }
    }
    for line in &outcome.lines {
        say(line);
    }
    let code = report(&outcome, &off);
    let page = html.map(|file| save(file, &run::recorded(seed, &off, cut).1));
    Ok(with_page(code, page.transpose()))
}

/// Shrinks a failure and returns what is left out then, telling how far it came.
fn shortest(failed: &run::Outcome, off: &[u32]) -> Vec<u32> {
    let tell = |events, runs| {
        // Nothing is left to be done when stderr is closed.
        let _ = write!(
            io::stderr(),
            "\rshrinking: {events:>3} events, {runs:>4} runs left "
        );
    };
    let off = shrink(failed, off, SHRINK_RUNS, tell).1;
    let _ = writeln!(io::stderr());
    say("as few events as still break the same promise, which may be another finding:");
    off
}

fn save(file: &Path, page: &Page) -> Result<(), String> {
    std::fs::write(file, page.render())
        .map_err(|error| format!("can't write the page {}: {error}", file.display()))
}

/// Returns the exit code of a run whose page was to be written: what failed in the run goes before
/// what failed with the page.
fn with_page(code: u8, page: Result<Option<()>, String>) -> u8 {
    let Err(error) = page else {
        return code;
    };
    // Nothing is left to be done when stderr is closed.
    let _ = writeln!(io::stderr(), "error: {error}");
    if code == 0 { 1 } else { code }
}

fn told(name: &str, html: Option<&Path>) -> Result<u8, String> {
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
    let page = html.map(|file| save(file, &story.page(&mut world, failure)));
    Ok(with_page(code, page.transpose()))
}

/// Returns the command that plays a seed again.
fn again(command: &str, seed: u64, off: &[u32], cut: Option<Cut>) -> String {
    let flags = run::flags(seed, off, cut);
    format!("again: cargo run -p tandem-sim --release -- {command} {flags} --trace")
}

fn report(outcome: &run::Outcome, off: &[u32]) -> u8 {
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
            say(&again("run", seed, off, outcome.cut));
            failure.kind.code()
        }
    }
}

fn alone(seeds: RangeInclusive<u64>, keep_trace: bool, off: &[u32], how: How) -> u8 {
    let (mut reach, mut failed, mut worst) = (Reach::default(), 0, 0);
    let (mut count, mut events) = (0_u64, 0);
    for seed in seeds {
        let outcome = run::run_alone(seed, off, keep_trace);
        count += 1;
        events += outcome.events;
        outcome.lines.iter().for_each(|line| say(line));
        reach.merge(&outcome.reach);
        if let Some(failure) = &outcome.failure {
            failed += 1;
            worst = worst.max(failure.kind.code());
            say(&format!("alone, seed {seed:#x}: {failure}"));
            say(&again("alone", seed, off, None));
            if !how.keep_going {
                return worst;
            }
        }
    }
    say(&format!("{count} seeds, {failed} failed; {events} events"));
    if how.coverage {
        reach
            .iter()
            .for_each(|(mark, count)| say(&format!("{count:>9} {mark}")));
    }
    worst
}

fn many(seeds: RangeInclusive<u64>, how: How) -> u8 {
    let (mut reach, mut events, mut worst, mut failed) = (Reach::default(), 0, 0, 0);
    let start = std::time::Instant::now();
    let mut count = 0_u64;
    for seed in seeds {
        let outcome = run::run_twice(seed);
        count += 1;
        reach.merge(&outcome.reach);
        events += 2 * outcome.events;
        if outcome.failure.is_some() {
            failed += 1;
            worst = worst.max(report(&outcome, &[]));
            if !how.keep_going {
                return worst;
            }
        }
    }
    let secs = start.elapsed().as_secs_f64();
    say(&format!(
        "{count} seeds, each twice, {failed} failed; {events} events in {secs:.1} s"
    ));
    if how.coverage {
        coverage(&reach);
    }
    worst
}

/// Plays each seed as it is, and then once for each boundary between two actions of a peer, with
/// that peer's power cut there.
fn boundaries(seeds: RangeInclusive<u64>, every: u64, jobs: usize) -> u8 {
    let mut worst = 0;
    say("| seed | actions | cuts | failed |");
    say("|---|---|---|---|");
    for seed in seeds {
        let whole = run::run(seed, &[], false);
        if whole.failure.is_some() {
            worst = worst.max(report(&whole, &[]));
            continue;
        }
        let all = (0..).zip(&whole.actions).flat_map(|(peer, actions)| {
            let cuts = (1..=*actions).step_by(usize::try_from(every).unwrap_or(usize::MAX));
            cuts.map(move |after| Cut { peer, after })
        });
        let all: Vec<Cut> = all.collect();
        let mut failed = 0;
        hunt::each(
            &all,
            jobs,
            |cut| run::run_cut(seed, &[], Some(*cut), false),
            |outcome| {
                if outcome.failure.is_some() {
                    failed += 1;
                    worst = worst.max(report(&outcome, &[]));
                }
            },
        );
        let actions: u64 = whole.actions.iter().sum();
        say(&format!(
            "| {seed:#x} | {actions} | {} | {failed} |",
            all.len()
        ));
    }
    worst
}

fn hash(range: Range, seeds: RangeInclusive<u64>) -> u8 {
    let mut all = 0_u64;
    for seed in seeds {
        all = all.rotate_left(7) ^ run::run(seed, &[], false).hash;
    }
    let (count, from) = (range.count, range.from);
    say(&format!("{all:016x}  {count} seeds from {from:#x}"));
    0
}

fn coverage(reach: &Reach) {
    for (mark, hits) in reach.iter() {
        say(&format!("{hits:>9}  {mark}"));
    }
    let wanted = reach::wanted();
    for mark in wanted.iter().filter(|mark| reach.count(mark) == 0) {
        say(&format!("    never  {mark}"));
    }
    let (met, all) = reach::met(reach);
    say(&format!("{met} of {all} marks"));
}

fn go_hunting(from: u64, until: Until, jobs: usize, is_covered: bool) -> u8 {
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
    let (progress, failed) = hunt::hunt(from, until, jobs, tell);
    let _ = writeln!(io::stderr());
    let (met, all) = reach::met(&progress.reach);
    say(&format!(
        "{} seeds from {from:#x} in {:.0} s: {:.0} seeds/s, {:.0} events/s, {met} of {all} marks",
        progress.seeds,
        progress.time.as_secs_f64(),
        progress.seeds_per_sec(),
        progress.events_per_sec(),
    ));
    if is_covered {
        coverage(&progress.reach);
    }
    match failed.as_slice() {
        [] => 0,
        [failed] => tell_story(failed),
        many => many
            .iter()
            .map(|failed| report(failed, &[]))
            .max()
            .unwrap_or(0),
    }
}

/// Tells a failure, and its shortest story: the end of the trace of what is left of it.
fn tell_story(failed: &run::Outcome) -> u8 {
    let code = report(failed, &[]);
    let off = shortest(failed, &[]);
    let shortest = run::run(failed.seed, &off, true);
    let from = shortest.lines.len().saturating_sub(STORY_LINES);
    for line in &shortest.lines[from..] {
        say(line);
    }
    report(&shortest, &off);
    code
}

#[cfg(feature = "mutants")]
fn all_mutants(only: Option<tandem_core::mutant::Mutant>, jobs: usize) -> u8 {
    use tandem_core::mutant::Mutant;

    let is_meant = |mutant: &Mutant| only.is_none_or(|only| only == *mutant);
    let mut missed = 0;
    say("| mutant | seed | promise | what the oracle said |");
    say("|---|---|---|---|");
    for mutant in Mutant::ALL.into_iter().filter(is_meant) {
        let Some(found) = tandem_sim::mutants::find(mutant, jobs) else {
            missed = 11;
            say(&format!("| {mutant:?} | not found | | |"));
            continue;
        };
        if let Some(failure) = &found.failure {
            let (seed, kind, promise) = (found.seed, failure.kind, failure.promise);
            let what = &failure.what;
            let writing = if mutant.is_of_settling() {
                ", writing, settling"
            } else if mutant.is_of_writing() {
                ", writing"
            } else {
                ""
            };
            say(&format!(
                "| {mutant:?} | {seed:#x}{writing} | {promise} ({kind:?}) | {what} |"
            ));
        }
    }
    missed
}
