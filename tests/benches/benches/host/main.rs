//! What the host costs, beside kube-rs' reflector and beside nothing.
//!
//!     cargo bench -p haptic-core -p haptic-benches --bench host -- [PART...] [--quick] [--json FILE] [--minutes N]
//!
//! Without parts it measures all; with `--quick` 10,000 objects at most, and each once. It prints a table as it goes and says on standard error what it is at.
//! A goal that is missed is a figure, and no failure: the exit code is 0; 2 for wrong usage.
#![allow(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on says where by panicking"
)]

mod bare;
mod cached;
mod client;
mod follow;
mod guest;
mod start;
mod whole;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use haptic_benches::{data::Kind, report::Report};

/// Names the role of a process that this one starts of itself.
const ROLE: &str = "HAPTIC_BENCH_ROLE";

/// What can be measured, and what it is about.
const PARTS: [(&str, &str); 11] = [
    ("callback", "an empty callback, beside wasmtime's own call"),
    ("get", "a guest reads one object"),
    ("view", "a guest reads 3 fields of 10,000 objects"),
    ("change", "a guest renders one change of many objects"),
    ("start", "from the start of a process to describe"),
    ("cached", "100 cold objects of a cached store"),
    ("sync", "the first sync over loopback HTTP: CPU and memory"),
    ("relist", "listing again what has not changed"),
    ("updates", "updates of single objects: CPU and rate"),
    ("host", "the whole host with a plugin and 100,000 objects"),
    ("idle", "100,000 objects that do not change, for --minutes"),
];

struct Args {
    help: bool,
    parts: Vec<String>,
    json: Option<PathBuf>,
    minutes: u32,
    effort: Effort,
}

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effort {
    /// Everything, and the best of several rounds.
    Full,
    /// 10,000 objects at most, and one round.
    Quick,
}

impl Effort {
    /// The most objects that are measured.
    fn most(self) -> usize {
        match self {
            Self::Full => 100_000,
            Self::Quick => 10_000,
        }
    }

    fn rounds(self, rounds: usize) -> usize {
        match self {
            Self::Full => rounds,
            Self::Quick => 1,
        }
    }
}

fn main() -> ExitCode {
    match std::env::var(ROLE).as_deref() {
        Ok("client") => client::run(&std::env::args().nth(1).unwrap()),
        Ok("start") => start::run(&std::env::args().skip(1).collect::<Vec<_>>()),
        Ok("command") => return haptic_host::cli::main(),
        Ok(role) => panic!("nobody has the role {role}"),
        Err(_) => return bench(),
    }
    ExitCode::SUCCESS
}

fn bench() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(mistake) => {
            eprintln!("error: {mistake}\n\n{}", usage());
            return ExitCode::from(2);
        }
    };
    if args.help {
        println!("{}", usage());
        return ExitCode::SUCCESS;
    }
    let mut report = Report::default();
    // Found out now, and not after an hour.
    if let Some(file) = &args.json
        && let Err(error) = report.write(file)
    {
        eprintln!("error: --json {}: {error}", file.display());
        return ExitCode::from(2);
    }
    for (part, _) in PARTS {
        if !args.parts.is_empty() && !args.parts.iter().any(|wanted| wanted == part) {
            continue;
        }
        match part {
            "callback" => guest::callback(&mut report),
            "get" => guest::get(&mut report),
            "view" => guest::view(&mut report),
            "change" => guest::change(&mut report, args.effort),
            "start" => start::measure(&mut report),
            "cached" => cached::measure(&mut report),
            "sync" => follow::sync(&mut report, args.effort),
            "relist" => follow::relist(&mut report, args.effort),
            "updates" => follow::updates(&mut report, args.effort),
            "host" => whole::measure(&mut report, args.effort),
            "idle" => follow::idle(&mut report, args.effort, args.minutes),
            _ => unreachable!("a part that is listed is measured"),
        }
        // After each part: what was measured is not lost when a later one fails.
        if let Some(file) = &args.json {
            report.write(file).unwrap();
        }
    }
    ExitCode::SUCCESS
}

fn usage() -> String {
    let parts = PARTS.map(|(name, what)| format!("  {name:<10} {what}\n"));
    let parts = parts.concat();
    format!(
        "Parts, all of them unless some are named:\n{parts}\n\
         Options: --quick (10,000 objects at most, each once), --json FILE (an absolute path: cargo changes \
         the folder), --minutes N (of idling, 3 unless told)"
    )
}

fn parse(typed: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args {
        help: false,
        parts: Vec::new(),
        json: None,
        minutes: 3,
        effort: Effort::Full,
    };
    let mut typed = typed;
    while let Some(word) = typed.next() {
        let mut value = || typed.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            // What cargo says to every benchmark.
            "--bench" => {}
            "--help" | "-h" => args.help = true,
            "--quick" => args.effort = Effort::Quick,
            "--json" => args.json = Some(value()?.into()),
            "--minutes" => {
                let text = value()?;
                let minutes = text.parse().ok().filter(|minutes| *minutes > 0);
                args.minutes =
                    minutes.ok_or(format!("--minutes {text}: a number above 0 is wanted"))?;
            }
            part if PARTS.iter().any(|(name, _)| *name == part) => args.parts.push(word),
            _ => return Err(format!("{word:?} is neither a part nor an option")),
        }
    }
    Ok(args)
}

fn kind(name: &str) -> Kind {
    let kinds = [Kind::Ingress, Kind::Pod, Kind::Secret];
    kinds.into_iter().find(|kind| kind.name() == name).unwrap()
}

/// As a figure: exact up to 2^32, which nothing here reaches.
fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// As a figure, in bytes: exact up to a kilobyte.
fn bytes(number: u64) -> f64 {
    f64::from(u32::try_from(number >> 10).unwrap_or(u32::MAX)) * 1024.0
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
