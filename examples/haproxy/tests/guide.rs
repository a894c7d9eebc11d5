//! The code in `docs/plugin-guide.md` is this example's, word for word.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

#[test]
fn the_guides_code_is_the_examples() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let guide = std::fs::read_to_string(root.join("docs/plugin-guide.md")).unwrap();
    let mut checked = 0;
    let mut parts = guide.split("```rust\n");
    let mut before = parts.next().unwrap();
    for part in parts {
        let (code, after) = part.split_once("```").unwrap();
        let file = before
            .trim_end()
            .rsplit_once("<!-- ")
            .and_then(|(_, file)| file.strip_suffix(" -->"));
        let file =
            file.unwrap_or_else(|| panic!("the guide does not say where this is from:\n{code}"));
        let source = std::fs::read_to_string(root.join(file)).unwrap();
        assert!(source.contains(code), "this is not in {file}:\n{code}");
        checked += 1;
        before = after;
    }
    assert!(checked >= 10, "only {checked} pieces of code were found");
}
