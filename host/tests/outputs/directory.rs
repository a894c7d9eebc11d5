//! Files at the worst moments: `kill -9`, and a disk that is full.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use haptic_host::{
    output::{DirectorySink, Occupancy},
    plugin::{OutputName, Outputs},
};

use crate::{
    stage::Stage,
    support::{Process, eventually, host, isolate},
};

/// Where the child of the test below commits to.
const INTO: &str = "HAPTIC_TEST_COMMIT_INTO";
/// Kills, of which each is at another moment.
const KILLS: u32 = 100;
/// Versions of a file before it has its first content again.
const VERSIONS: usize = 7;

/// What the files of a version hold: long enough that writing takes several calls, and
/// of another length in each.
fn content(name: &str, version: usize) -> Vec<u8> {
    let line = format!("{name} of version {version}\n");
    line.repeat(1 + (version + 1) * 600).into_bytes()
}

const NAMES: [&str; 3] = ["a.cfg", "certs/b.pem", "deep/er/c.map"];

fn outputs(version: usize) -> Outputs {
    let output = |name: &&str| (OutputName::parse(name).unwrap(), content(name, version));
    NAMES.iter().map(output).collect()
}

/// Not a test of its own: the one below runs it in a process that it kills.
#[test]
fn child_that_commits_until_it_is_killed() {
    let Some(root) = env::var_os(INTO) else {
        return;
    };
    let mut sink = DirectorySink::open(Path::new(&root), Occupancy::Alone, true).unwrap();
    let versions: Vec<Outputs> = (0..VERSIONS).map(outputs).collect();
    println!("\nopened");
    for version in versions.iter().cycle() {
        sink.commit(version.clone(), None).unwrap();
    }
}

/// How long a commit takes here, at this load.
fn commit_time() -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let mut sink = DirectorySink::open(dir.path(), Occupancy::Alone, true).unwrap();
    let versions: Vec<Outputs> = (0..VERSIONS).map(outputs).collect();
    let began = Instant::now();
    for version in versions {
        sink.commit(version, None).unwrap();
    }
    began.elapsed() / u32::try_from(VERSIONS).unwrap()
}

/// A child that holds the directory. While other tests start processes, those may keep the
/// lock of the one before for a moment.
fn committing(root: &Path) -> Child {
    eventually("child that commits", || {
        start_committing(root).ok_or_else(|| "it ends at once".to_owned())
    })
}

fn start_committing(root: &Path) -> Option<Child> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "--nocapture",
            "directory::child_that_commits_until_it_is_killed",
        ])
        .env(INTO, root)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let opened = said.map_while(Result::ok).any(|line| line == "opened");
    if opened {
        return Some(child);
    }
    child.wait().unwrap();
    None
}

/// All files below a directory.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(root).unwrap().to_owned();
                    found.insert(name, fs::read(path).unwrap());
                }
            }
        }
    }
    found
}

#[test]
fn o2_a_host_that_is_killed_at_any_moment_leaves_old_files_or_new_ones_and_never_parts() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("out");
    // xorshift64, so that a failure can be repeated as far as moments can.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    // From the first staged file to some commits later.
    let window = u64::try_from((commit_time() * 4).as_micros()).unwrap();
    let (mut leftovers, mut seen, mut mixed) = (0, BTreeMap::<usize, u32>::new(), 0);
    for kill in 0..KILLS {
        let mut child = committing(&root);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_micros(random % window));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut versions = Vec::new();
        for (name, found) in files(&root) {
            let name = name.to_str().unwrap();
            if NAMES.contains(&name) {
                let whole = (0..VERSIONS).find(|&version| content(name, version) == found);
                let version = whole.unwrap_or_else(|| {
                    panic!("kill {kill}: {name} is a part: {} bytes", found.len())
                });
                versions.push(version);
            } else if name == ".haptic-on-output" {
                assert_eq!(found.len(), 17, "kill {kill}: half a mark");
            } else {
                assert!(name.contains(".haptic-tmp-"), "kill {kill}: {name}");
                leftovers += 1;
            }
        }
        for version in &versions {
            *seen.entry(*version).or_default() += 1;
        }
        // Renames of one commit follow each other, and a child begins with version 0.
        let mut distinct = versions.clone();
        distinct.dedup();
        match distinct.as_slice() {
            [] | [_] => {}
            [new, old] if *new == 0 || *new == old + 1 => {}
            // Killed in its first commit, after one that was killed in a later one.
            [0, new, old] if *new == old + 1 => {}
            _ => panic!("kill {kill}: {versions:?}"),
        }
        mixed += u32::from(versions.iter().any(|version| *version != versions[0]));
        // The next start removes what the killed one was writing.
        drop(eventually("directory", || {
            DirectorySink::open(&root, Occupancy::Alone, true).map_err(|error| error.to_string())
        }));
        let left: Vec<PathBuf> = files(&root)
            .into_keys()
            .filter(|name| name.to_string_lossy().contains("tmp"))
            .collect();
        assert!(left.is_empty(), "kill {kill}: {left:?}");
    }
    println!(
        "{KILLS} kills within {window} µs: {leftovers} leftovers, {mixed} between two renames, files found by version {seen:?}"
    );
    assert!(leftovers > 0, "no kill hit a commit: {seen:?}");
    assert!(seen.len() > 1, "no kill came after a commit: {seen:?}");
}

/// Whether a file system can be mounted that nobody else sees.
fn can_mount() -> Result<(), String> {
    let tried = Command::new("unshare")
        .args(["--mount", "mount", "-t", "tmpfs", "none", "/mnt"])
        .output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn o2_a_full_disk_is_reported_and_the_outputs_follow_when_there_is_space() {
    if let Err(why) = can_mount() {
        eprintln!("NOT TESTED: a full disk, as this user may not mount a tmpfs: {why}");
        return;
    }
    let stage = Stage::new(2);
    let out = stage.at("out");
    fs::create_dir(&out).unwrap();
    // A disk of 256 KiB that something else has filled, for the host alone.
    let script = "mount -t tmpfs -o size=256k none out && { head -c 1M /dev/zero >out/other 2>/dev/null; exec \"$@\"; }";
    let hello = stage.hello();
    let mut command = Command::new("unshare");
    isolate(&mut command);
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(host().get_program())
        .args(hello.get_args())
        .args(["--on-output", "echo run >>runs"])
        .current_dir(stage.dir.path());
    let mut running = Process::start(&mut command);
    running.logs("No space left on device", 2);
    assert!(
        running
            .log()
            .contains("nothing was written, it is tried again"),
        "{}",
        running.log()
    );
    assert_eq!(stage.read("runs"), "", "nothing was committed");
    // As the host sees it.
    let inside = PathBuf::from(format!("/proc/{}/root", running.child.id()))
        .join(out.strip_prefix("/").unwrap());
    assert_eq!(entries(&inside), ["other"], "no parts, and no leftovers");
    fs::remove_file(inside.join("other")).unwrap();
    eventually("outputs", || {
        match fs::read_to_string(inside.join("configmaps.txt")) {
            Ok(text) if text == "2 ConfigMaps\nshop/m0\nshop/m1\n" => Ok(()),
            found => Err(format!("{found:?}\n{}", running.log())),
        }
    });
    stage.reads("runs", "run\n", &running);
    assert_eq!(running.stop(), Some(0), "{}", running.log());
}

fn entries(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
