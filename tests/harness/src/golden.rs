//! Golden folders: outputs as a test's author has read and accepted them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::{Path, PathBuf},
};

use similar::TextDiff;

use crate::Harness;

/// Set to anything but 0: golden folders are written, not compared.
const UPDATE: &str = "HAPTIC_UPDATE_GOLDEN";

/// Marks a folder whose files may be replaced.
const MARK: &str = ".golden";

/// Lines of differences in a report: more are not read.
const LINES: usize = 120;

impl Harness {
    /// Compares all outputs, as they are committed now, with the files of a folder: the same
    /// names, the same contents. A relative folder is one of the package.
    ///
    /// `HAPTIC_UPDATE_GOLDEN=1 cargo test` writes the folder anew instead; look at what it changed
    /// before you commit it.
    ///
    /// # Panics
    /// When they differ, with the differences. In an update, when the folder has files and was
    /// not made by one: what it holds would be lost.
    #[track_caller]
    pub fn assert_golden(&self, folder: impl AsRef<Path>) {
        let folder = folder.as_ref();
        let asked =
            std::env::var_os(UPDATE).is_some_and(|value| !value.is_empty() && value != *"0");
        let result = match asked {
            true => update(folder, self.outputs()),
            false => compare(folder, self.outputs()),
        };
        if let Err(report) = result {
            panic!("{report}");
        }
    }
}

fn compare(folder: &Path, outputs: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    let golden = read(folder)?;
    let how = format!("{UPDATE}=1 cargo test writes it anew");
    if golden.is_empty() && !folder.join(MARK).exists() {
        return Err(format!(
            "there is no golden folder {}: {how}",
            folder.display()
        ));
    }
    let names: BTreeSet<&String> = golden.keys().chain(outputs.keys()).collect();
    let mut report = String::new();
    for name in names {
        match (golden.get(name), outputs.get(name)) {
            (Some(old), Some(new)) if old == new => {}
            (Some(old), Some(new)) => report += &diff(name, old, new),
            (Some(_), None) => _ = writeln!(report, "the output {name} is missing"),
            (None, Some(_)) => _ = writeln!(report, "the output {name} is new"),
            (None, None) => {}
        }
    }
    if report.is_empty() {
        return Ok(());
    }
    let lines = report.lines().count();
    if lines > LINES {
        report = report
            .lines()
            .take(LINES)
            .fold(String::new(), |text, line| text + line + "\n");
        report += &format!("… and {} lines more\n", lines - LINES);
    }
    Err(format!(
        "the outputs are not those of {}:\n{report}({how})",
        folder.display()
    ))
}

/// A unified diff, or that bytes differ.
pub(crate) fn diff(name: &str, old: &[u8], new: &[u8]) -> String {
    match (std::str::from_utf8(old), std::str::from_utf8(new)) {
        (Ok(old), Ok(new)) => TextDiff::from_lines(old, new)
            .unified_diff()
            .header(name, name)
            .to_string(),
        _ => format!(
            "the output {name} differs: {} bytes, now {}\n",
            old.len(),
            new.len()
        ),
    }
}

fn update(folder: &Path, outputs: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    let failed =
        |path: &Path, error: &std::io::Error| format!("cannot update {}: {error}", path.display());
    let golden = read(folder)?;
    let mark = folder.join(MARK);
    if !golden.is_empty() && !mark.exists() {
        return Err(format!(
            "{} has files and no {MARK}, so it may not be a golden folder: remove it, or put an empty {MARK} there",
            folder.display()
        ));
    }
    let write = |path: &Path, content: &[u8]| {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| failed(parent, &error))?;
        }
        std::fs::write(path, content).map_err(|error| failed(path, &error))
    };
    write(&mark, b"")?;
    for (name, content) in outputs {
        if golden.get(name) != Some(content) {
            write(&folder.join(name), content)?;
        }
    }
    for name in golden.keys().filter(|name| !outputs.contains_key(*name)) {
        let path = folder.join(name);
        std::fs::remove_file(&path).map_err(|error| failed(&path, &error))?;
    }
    Ok(())
}

/// The files below a folder by their names as outputs; hidden ones are no outputs.
fn read(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut files = BTreeMap::new();
    let mut folders: Vec<(PathBuf, String)> = vec![(folder.to_owned(), String::new())];
    while let Some((at, prefix)) = folders.pop() {
        if !at.exists() {
            continue;
        }
        let failed = |error: std::io::Error| format!("cannot read {}: {error}", at.display());
        for entry in std::fs::read_dir(&at).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                folders.push((path, format!("{prefix}{name}/")));
            } else {
                let content = std::fs::read(&path)
                    .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                files.insert(format!("{prefix}{name}"), content);
            }
        }
    }
    Ok(files)
}
