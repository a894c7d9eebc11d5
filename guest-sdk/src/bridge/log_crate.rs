//! The `log` crate.

use ::log::{LevelFilter, Log, Metadata, Record};

use crate::log::{Level, write};

struct Bridge;

pub(super) fn install() {
    if ::log::set_logger(&Bridge).is_ok() {
        ::log::set_max_level(LevelFilter::Info);
    }
}

pub(super) fn set_level(level: Level) {
    ::log::set_max_level(match level {
        Level::Error => LevelFilter::Error,
        Level::Warn => LevelFilter::Warn,
        Level::Info => LevelFilter::Info,
        Level::Debug => LevelFilter::Debug,
        Level::Trace => LevelFilter::Trace,
    });
}

fn level(level: ::log::Level) -> Level {
    match level {
        ::log::Level::Error => Level::Error,
        ::log::Level::Warn => Level::Warn,
        ::log::Level::Info => Level::Info,
        ::log::Level::Debug => Level::Debug,
        ::log::Level::Trace => Level::Trace,
    }
}

impl Log for Bridge {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        super::passes(level(metadata.level()))
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            write(
                level(record.level()),
                record.target(),
                &record.args().to_string(),
                &[],
            );
        }
    }

    fn flush(&self) {}
}
