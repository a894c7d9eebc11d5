//! Shows what changed in an output as a unified diff on standard output.

use std::io::{self, IsTerminal, Write};

use similar::{ChangeTag, TextDiff};

use crate::output::Changed;

/// Lines of context, as `diff -u` has.
const CONTEXT: usize = 3;

/// Prints the difference, coloured on a terminal unless `NO_COLOR` is set. A
/// first version is only announced; bytes that are no text are only counted.
pub(crate) fn print(changed: &Changed) {
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let text = render(changed, colour);
    let mut stdout = io::stdout().lock();
    if let Err(error) = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        tracing::warn!("cannot print a diff: {error}");
    }
}

fn render(changed: &Changed, colour: bool) -> String {
    let Changed {
        name,
        before,
        after,
    } = changed;
    let Some(before) = before else {
        return format!("+++ {name} (new, {} bytes)\n", after.len());
    };
    let (Ok(old), Ok(new)) = (std::str::from_utf8(before), std::str::from_utf8(after)) else {
        return format!(
            "+++ {name} ({} bytes, was {} bytes)\n",
            after.len(),
            before.len()
        );
    };
    let paint = |code: &str, line: &str| {
        if colour {
            format!("\x1b[{code}m{line}\x1b[0m\n")
        } else {
            format!("{line}\n")
        }
    };
    let mut text = paint("1", &format!("--- {name}"));
    text.push_str(&paint("1", &format!("+++ {name}")));
    let diff = TextDiff::from_lines(old, new);
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        text.push_str(&paint("36", &hunk.header().to_string()));
        for change in hunk.iter_changes() {
            let line = change.value().trim_end_matches('\n');
            match change.tag() {
                ChangeTag::Equal => text.push_str(&format!(" {line}\n")),
                ChangeTag::Delete => text.push_str(&paint("31", &format!("-{line}"))),
                ChangeTag::Insert => text.push_str(&paint("32", &format!("+{line}"))),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::plugin::OutputName;

    fn rendered(before: Option<&[u8]>, after: &[u8]) -> String {
        let changed = Changed {
            name: OutputName::parse("a.cfg").unwrap(),
            before: before.map(<[u8]>::to_vec),
            after: after.to_vec(),
        };
        render(&changed, false)
    }

    #[test]
    fn a_change_is_a_unified_diff_and_a_first_version_is_announced() {
        assert_eq!(rendered(None, b"one\n"), "+++ a.cfg (new, 4 bytes)\n");
        assert_eq!(
            rendered(Some(b"one\ntwo\n"), b"one\n2\n"),
            "--- a.cfg\n+++ a.cfg\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n"
        );
        assert_eq!(
            rendered(Some(b"\xff"), b"x"),
            "+++ a.cfg (1 bytes, was 1 bytes)\n"
        );
    }
}
