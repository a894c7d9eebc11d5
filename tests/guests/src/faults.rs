//! What a hostile or a broken plugin does.

use std::{
    hint::black_box,
    net::{TcpStream, ToSocketAddrs, UdpSocket},
    time::Duration,
};

use haptic_guest::{Error, Scope, Store, Watch, log, output};

use crate::clocks;

/// What a page that takes text for markup would run.
pub(crate) const MARKUP: &str = "<img src=x onerror=\"window.executed=1\">";

/// Does what the mode says; returns for those that do not end the callback.
pub(crate) fn misbehave(mode: &str, store: &Store<'_>) -> Result<(), Error> {
    match mode {
        "panic" => {
            output::write("half-written", "")?;
            panic!("panics on purpose");
        }
        "err" => {
            output::write("half-written", "")?;
            return Err(Error::new("refused on purpose"));
        }
        "markup" => return Err(Error::new(format!("{MARKUP}<script>executed=1</script>"))),
        "exit" => std::process::exit(3),
        "loop" => {
            log::info!("it begins");
            loop {
                black_box(mode);
            }
        }
        "loop-imports" => {
            log::info!("it begins");
            loop {
                black_box((store.len(), store.revision(), store.changes()?));
                log::trace!("again");
            }
        }
        "costly-select" => costly_select(store)?,
        "exotic-paths" => {
            let paths = [
                "$..colour",
                "data[?@=='blue']",
                "$['data','metadata']['colour','name']",
                "metadata[?match(@, 's.*')]",
            ];
            let columns = store.columns(&paths, &[])?;
            output::write("columns", columns.json())?;
        }
        "costly-paths" => output::write("paths", &costly_paths(store))?,
        "deep-select" => {
            black_box(dive(store, 1));
        }
        "sleep" => {
            log::info!("it begins");
            std::thread::sleep(Duration::from_secs(3_600));
        }
        "slow" => {
            log::info!("it begins");
            std::thread::sleep(Duration::from_secs(1));
            output::write("slow", "it ended\n")?;
        }
        "clocks" => output::write("clocks", &clocks::look())?,
        "busy-wait" => {
            log::info!("it begins");
            clocks::wait_busily();
        }
        "memory" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(black_box(vec![1_u8; 1 << 20]));
            }
        }
        "recursion" => {
            black_box(descend(1));
        }
        "huge-output" => {
            let written = output::write("huge", &"x".repeat(2 << 20));
            log::info!("{:?}", written);
        }
        "many-outputs" => {
            // Whatever the host says.
            let refused = (0..100_000)
                .filter(|i| output::write(&format!("many/{i}"), "").is_err())
                .count();
            log::info!("{} were refused", refused);
        }
        "binary-output" => output::write_bytes("binary", &[0xff, 0x00, 0xfe, b'\n'])?,
        "bad-names" => bad_names()?,
        "log-flood" => {
            for i in 0..100_000 {
                log::info!("line {}", i);
            }
        }
        "long-line" => log::info!(field = "f".repeat(1 << 20), "{}", "é".repeat(1 << 20)),
        "forged-line" => log::info!("innocent\n2026-01-01T00:00:00Z ERROR forged\u{1b}[2J"),
        "print" => {
            println!("to stdout");
            eprint!("to stderr, without a newline");
        }
        "print-flood" => {
            for i in 0..100_000 {
                println!("line {i}");
            }
        }
        "last-words" => {
            for i in 0..1_000 {
                eprintln!("the words before the last, {i}");
            }
            eprintln!("the last words");
            std::process::exit(1);
        }
        "leak-handles" => loop {
            std::mem::forget(Store::open(store.name())?);
        },
        #[cfg(target_arch = "wasm32")]
        "leak-streams" => {
            // Handles of WASI's, which are the host's memory too.
            let mut streams = Vec::new();
            loop {
                streams.push(wasi::cli::stdout::get_stdout());
            }
        }
        #[cfg(target_arch = "wasm32")]
        "poll-flood" => {
            let never = wasi::clocks::monotonic_clock::subscribe_duration(u64::MAX);
            black_box(wasi::io::poll::poll(&vec![&never; 1_000_000]));
        }
        #[cfg(target_arch = "wasm32")]
        "random-flood" => {
            black_box(wasi::random::random::get_random_bytes(1 << 40));
        }
        "many-keys" => {
            let keys = vec!["k"; 1_000_000];
            let error = store.get_json(&keys).map(|found| found.len());
            output::write("keys", &format!("{error:?}"))?;
            // More than the host takes in one call.
            black_box(store.get_json(&vec!["k"; 5_000_000]))?;
        }
        "huge-arguments" => output::write("arguments", &huge_arguments(store))?,
        "large-changes" => {
            let changes = store.changes().map(|changes| changes.len());
            output::write("changes", &format!("{changes:?}"))?;
        }
        "large-answer" => {
            let list = store.list_json().map(|objects| objects.len());
            let columns = store.columns(&["data"], &[]).map(|_columns| ());
            let paged = store.iter::<serde::de::IgnoredAny>(10_000).count();
            output::write(
                "answers",
                &format!("{list:?}\n{columns:?}\npaged: {paged}\n"),
            )?;
        }
        "wrong-reads" => {
            let mut text = String::new();
            wrong_reads(&mut text);
            output::write("errors", &text)?;
        }
        "wasi" => output::write("wasi", &wasi())?,
        "wasi-granted" => output::write("wasi", &wasi_granted())?,
        _ => {}
    }
    Ok(())
}

#[allow(unconditional_recursion, reason = "that is the fault")]
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    descend(depth + 1).wrapping_add(frame.iter().sum())
}

/// As many paths as a read may have, each as expensive as a path may be, again and again.
fn costly_select(store: &Store<'_>) -> Result<(), Error> {
    let path = "$..[?@..*].*";
    let fields = [path; 256];
    let mut calls = 0_u32;
    loop {
        let outcome = store.columns(&fields, &[]).map(|_columns| ());
        calls += 1;
        log::info!("call {}: {:?}", calls, outcome);
    }
}

/// Paths that would take a parser or an evaluator long, or deep.
fn costly_paths(store: &Store<'_>) -> String {
    let nested = |open: &str, close: &str, depth: usize| {
        format!("data[?{}@.a{}]", open.repeat(depth), close.repeat(depth))
    };
    let paths = [
        nested("(", ")", 17),
        nested("(", ")", 480),
        nested("@[?", "]", 200),
        nested("length(", ")", 5),
        "data[?match(@.a, '(a*)*(a*)*(a*)*(a*)*(a*)*(a*)*(a*)*(a*)*(a*)*(a*)*(a*)*(a*)*b')]".into(),
        "data[?match(@.a, 'a{1000}')]".into(),
        "$..a..b..c".into(),
        "$[*,*,*,*,*,*,*,*][*,*,*,*,*,*,*,*][*,*]".into(),
        "a".repeat(1 << 20),
        "[".repeat(1_000),
    ];
    let mut text = String::new();
    for path in &paths {
        let outcome = match store.columns(&[path.as_str()], &[]) {
            Ok(_columns) => "ANSWERED".to_owned(),
            Err(error) => error.to_string(),
        };
        text += &format!("{outcome}\n");
    }
    text
}

/// Goes as deep as the stack goes, and has the host parse and evaluate down there.
#[allow(unconditional_recursion, reason = "that is the fault")]
fn dive(store: &Store<'_>, depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth.is_multiple_of(64) {
        let deepest = "$..[?((((((((((((((@.a))))))))))))))]";
        black_box(store.columns(&[deepest], &[]).map(|_columns| ())).unwrap_or_default();
    }
    dive(store, depth + 1).wrapping_add(frame.iter().sum())
}

/// Texts of 16 MiB where texts can be passed: how long is what comes back?
fn huge_arguments(store: &Store<'_>) -> String {
    let huge = "x".repeat(16 << 20);
    let mut text = String::new();
    let mut line = |what: &str, error: Option<String>| {
        let length = error.map_or(0, |error| error.len());
        text += &format!("{what}: {length}\n");
    };
    let told = |error: haptic_guest::StoreError| error.to_string();
    line("open", Store::open(&huge).err().map(told));
    line("index", store.get_by_json(&huge, &["a"]).err().map(told));
    line("cursor", store.page_json(Some(&huge), 1).err().map(told));
    line("path", store.columns(&[&huge], &[]).err().map(told));
    line("key", store.get_json(&[&huge]).err().map(told));
    line("name", store.get_object_json(&huge, &huge).err().map(told));
    let error = output::write(&huge, "").err();
    line("output", error.map(|error| error.to_string()));
    log::info!(field = &huge, "{}", huge);
    text
}

/// Names that would leave the output directory, or that no file may have (O1).
fn bad_names() -> Result<(), Error> {
    let long = "x".repeat(10_000);
    let names = [
        "",
        "/",
        ".",
        "..",
        "/etc/passwd",
        "../escape",
        "a/../../escape",
        r"..\escape",
        r"C:\escape",
        "C:escape",
        "nul\0byte",
        "line\nbreak",
        ".haptic-temporary",
        long.as_str(),
    ];
    let mut text = String::new();
    for name in names {
        let outcome = match output::write(name, "escaped") {
            Ok(()) => "TAKEN".to_owned(),
            Err(error) => error.to_string(),
        };
        text += &format!("{outcome}\n");
    }
    output::write("refusals", &text)?;
    Ok(())
}

/// Every read that cannot be answered.
pub(crate) fn wrong_reads(text: &mut String) {
    let mut line = |what: &str, error: Option<String>| {
        *text += &format!("{what}: {}\n", error.as_deref().unwrap_or("ANSWERED"));
    };
    fn error<T>(result: Result<T, haptic_guest::StoreError>) -> Option<String> {
        result.err().map(|error| error.to_string())
    }
    line("no such store", error(Store::open("pods")));
    line("a watch of one object", error(Store::open("settings")));
    let store = match Store::open("configmaps") {
        Ok(store) => store,
        Err(error) => return line("configmaps", Some(error.to_string())),
    };
    line("no keys", error(store.get_json(&[])));
    line("too many keys", error(store.get_json(&["a", "b", "c"])));
    line("no such index", error(store.get_by_json("by-size", &["s"])));
    line(
        "the primary index by name",
        error(store.get_by_json("", &["s"])),
    );
    line(
        "too many keys for select",
        error(store.columns(&["data"], &["a", "b", "c"])),
    );
    line("bad path", error(store.columns(&["spec[", "data"], &[])));
    line(
        "template",
        error(store.columns(&["{range .items[*]}"], &[])),
    );
    let many = ["data"; 300];
    line("too many fields", error(store.columns(&many, &[])));
    line("bad cursor", error(store.page_json(Some("nonsense"), 10)));
    line(
        "no name",
        store
            .get_object_json("a", "")
            .unwrap_or_else(|error| Some(error.to_string())),
    );
}

/// What the machine looks like from inside (P5).
fn wasi() -> String {
    let mut text = String::new();
    let mut line = |what: &str, result: Result<String, String>| {
        let outcome = match result {
            Ok(found) => format!("FOUND {found}"),
            Err(_refused) => "refused".to_owned(),
        };
        text += &format!("{what}: {outcome}\n");
    };
    fn done<T>(result: std::io::Result<T>) -> Result<String, String> {
        result
            .map(|_| "something".to_owned())
            .map_err(|error| error.to_string())
    }
    line("list /", done(std::fs::read_dir("/")));
    line("list .", done(std::fs::read_dir(".")));
    line("read /etc/passwd", done(std::fs::read("/etc/passwd")));
    line(
        "write /tmp/escape",
        done(std::fs::write("/tmp/escape", "x")),
    );
    line("write escape", done(std::fs::write("escape", "x")));
    line("connect", done(TcpStream::connect(("127.0.0.1", 22))));
    line("resolve", done("localhost:22".to_socket_addrs()));
    line("udp", done(UdpSocket::bind("127.0.0.1:0")));
    let variables: Vec<_> = std::env::vars().map(|(name, _)| name).collect();
    let arguments: Vec<_> = std::env::args().collect();
    text += &format!("environment: {variables:?}\narguments: {arguments:?}\n");
    text
}

/// What a plugin can do with a directory to read, `/in`, one to write, `/out`, and a variable.
fn wasi_granted() -> String {
    let mut text = String::new();
    let mut line = |what: &str, result: std::io::Result<String>| {
        let outcome = result.unwrap_or_else(|_refused| "refused".to_owned());
        text += &format!("{what}: {outcome}\n");
    };
    fn done(result: std::io::Result<()>) -> std::io::Result<String> {
        result.map(|()| "done".to_owned())
    }
    line("read /in/file", std::fs::read_to_string("/in/file"));
    line("write /in/file", done(std::fs::write("/in/file", "x")));
    line("make /in/new", done(std::fs::write("/in/new", "x")));
    line("remove /in/file", done(std::fs::remove_file("/in/file")));
    line(
        "read /in/../secret",
        std::fs::read_to_string("/in/../secret"),
    );
    line("read /in/link", std::fs::read_to_string("/in/link"));
    line("read /in/absolute", std::fs::read_to_string("/in/absolute"));
    line("read /etc/passwd", std::fs::read_to_string("/etc/passwd"));
    line(
        "write /out/new",
        done(std::fs::write("/out/new", "written")),
    );
    line(
        "write /out/../escape",
        done(std::fs::write("/out/../escape", "x")),
    );
    line("write /out/link", done(std::fs::write("/out/link", "x")));
    line(
        "move out of /in",
        done(std::fs::rename("/in/file", "/out/file")),
    );
    line(
        "connect",
        TcpStream::connect(("127.0.0.1", 22)).map(|_| "connected".to_owned()),
    );
    let variables: Vec<_> = std::env::vars().collect();
    text += &format!("environment: {variables:?}\n");
    text
}

/// Long names, and thousands of mistakes under each.
pub(crate) fn verbose_watches() -> Vec<Watch> {
    let name = "é".repeat(1 << 16);
    (0..8)
        .map(|_| {
            let mut watch = Watch::new(name.as_str(), name.as_str(), name.as_str());
            for _ in 0..40 {
                watch = watch.index(name.as_str(), ["a["; 8]);
            }
            watch.keep_fields(["b["; 256]).ignore_fields(["c["; 256])
        })
        .collect()
}

/// A mistake in every field that takes text, to be reported all at once (I2).
pub(crate) fn wrong_watches() -> Vec<Watch> {
    let mut scope = Watch::new("scope", "v1", "pods");
    scope.scope = Scope::Namespaces(vec!["Shop".to_owned(), String::new()]);
    vec![
        Watch::new("paths", "v1", "pods")
            .index_by(["metadata.namespace", "metadata.labels["])
            .index("by-host", ["spec.rules[*"])
            .keep_fields(["spec", "{range .items}"])
            .ignore_fields(["metadata..["]),
        Watch::new("selectors", "v1", "pods")
            .label_selector("app in ()")
            .field_selector("spec.nodeName"),
        Watch::new("resource", "networking.k8s.io/v1/x", "Ingress"),
        Watch::new("option", "v1", "pods").extra("missing-keys", "skip"),
        scope,
        Watch::new("twice", "v1", "pods"),
        Watch::new("twice", "v1", "services"),
        Watch::new("slow", "v1", "pods").debounce(Duration::from_secs(86_400)),
    ]
}
