//! Text from others as it may be printed: on one line, and without effect on
//! a terminal.

use std::fmt::{self, Display, Formatter, Write};

/// Displays control characters and those that turn the direction of text as
/// escapes, such as `\n` and `\u{1b}`, and everything else as it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Escaped<T>(pub T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(Escaper(formatter), "{}", self.0)
    }
}

struct Escaper<'a, 'f>(&'a mut Formatter<'f>);

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|one| self.write_char(one))
    }

    fn write_char(&mut self, one: char) -> fmt::Result {
        if has_effect(one) {
            write!(self.0, "{}", one.escape_default())
        } else {
            self.0.write_char(one)
        }
    }
}

fn has_effect(one: char) -> bool {
    let is_separator_or_direction = matches!(
        one,
        '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    one.is_control() || is_separator_or_direction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_line_or_moves_the_cursor() {
        for (given, shown) in [
            (
                "plain, \"quoted\" and \\ and ü",
                "plain, \"quoted\" and \\ and ü",
            ),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("\u{202e}gnp", "\\u{202e}gnp"),
            ("a\u{2028}b", "a\\u{2028}b"),
        ] {
            assert_eq!(Escaped(given).to_string(), shown);
        }
    }
}
