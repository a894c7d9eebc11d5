//! What is logged, and how.

use std::{io::IsTerminal, str::FromStr};

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use super::args::LogFormat;
use crate::replay::LogTime;

/// What a directive that is left out stands for.
const DEFAULT: &str = "info";

/// What `--log` takes: a level, and levels of single modules. The words of
/// `tracing_subscriber`'s filter, but for those that would silence everything by mistake:
/// there, `inof` is a module of which all is logged, and nothing else is.
#[derive(Clone, Debug)]
pub(super) struct LogFilter(String);

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let directives: Vec<&str> = text.split(',').map(str::trim).collect();
        let mut has_level = false;
        for directive in &directives {
            has_level |= check(directive)?;
        }
        let mut filter = directives.join(",");
        if !has_level {
            filter = format!("{DEFAULT},{filter}");
        }
        // kube's own client, for proxies and credential plugins, logs each failed request as an
        // error; the watch machine says the same once, with what follows from it.
        if !filter.contains("kube") {
            filter.push_str(",kube_client=off");
        }
        match EnvFilter::try_new(&filter) {
            Ok(_) => Ok(Self(filter)),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Whether it is a level for all that no other directive names.
fn check(directive: &str) -> Result<bool, String> {
    let level = |text: &str| !text.is_empty() && text.parse::<LevelFilter>().is_ok();
    if level(directive) {
        return Ok(true);
    }
    let (module, of_module) = match directive.rsplit_once('=') {
        Some((module, of_module)) => (module, Some(of_module)),
        None => (directive, None),
    };
    match of_module {
        Some(of_module) if level(of_module) && !module.is_empty() => Ok(false),
        _ => Err(format!(
            "`{directive}` is no level: write error, warn, info, debug, trace or off, or `MODULE=LEVEL` such as `haptic_core=debug`"
        )),
    }
}

/// Logs to standard error from here on.
pub(super) fn init(filter: &LogFilter, format: LogFormat) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&filter.0))
        .with_target(false)
        .with_timer(LogTime)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Pretty => builder
            .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_what_is_not_named_is_logged_all_the_same() {
        for (text, filter) in [
            ("debug", "debug,kube_client=off"),
            ("off", "off,kube_client=off"),
            (
                "haptic_core=debug",
                "info,haptic_core=debug,kube_client=off",
            ),
            (
                "warn, haptic_core=debug",
                "warn,haptic_core=debug,kube_client=off",
            ),
            ("kube_client=warn", "info,kube_client=warn"),
            (
                "haptic_core[span{a=1}]=trace",
                "info,haptic_core[span{a=1}]=trace,kube_client=off",
            ),
        ] {
            let parsed = text.parse().map(|LogFilter(filter)| filter);
            assert_eq!(parsed.as_deref(), Ok(filter), "{text}");
        }
    }

    #[test]
    fn v2_a_directive_that_would_silence_everything_is_refused() {
        for (text, wrong) in [
            ("bogus=", "`bogus=`"),
            ("inof", "`inof`"),
            ("haptic_core", "`haptic_core`"),
            ("info,haptic_core=dbug", "`haptic_core=dbug`"),
            ("=debug", "`=debug`"),
            ("", "``"),
            ("info,,debug", "``"),
        ] {
            let error = text.parse::<LogFilter>().map(|LogFilter(filter)| filter);
            assert!(
                error.as_ref().is_err_and(|error| error.starts_with(wrong)),
                "{text}: {error:?}"
            );
        }
    }
}
