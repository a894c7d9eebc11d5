//! What a hostile or a broken plugin does.

use std::{
    hint::black_box,
    net::{TcpStream, ToSocketAddrs, UdpSocket},
    time::Duration,
};

use haptic_guest::{Error, Scope, Store, Watch, log, output};

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
        "exit" => std::process::exit(3),
        "loop" => loop {
            black_box(mode);
        },
        "sleep" => std::thread::sleep(Duration::from_secs(3_600)),
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
            for i in 0..10_000 {
                output::write(&format!("many/{i}"), "")?;
            }
        }
        "bad-names" => bad_names()?,
        "log-flood" => {
            for i in 0..100_000 {
                log::info!("line {}", i);
            }
        }
        "long-line" => log::info!(field = "f".repeat(1 << 20), "{}", "é".repeat(1 << 20)),
        "print" => {
            println!("to stdout");
            eprint!("to stderr, without a newline");
        }
        "leak-handles" => loop {
            std::mem::forget(Store::open(store.name())?);
        },
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
        _ => {}
    }
    Ok(())
}

#[allow(unconditional_recursion, reason = "that is the fault")]
fn descend(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    descend(depth + 1).wrapping_add(frame.iter().sum())
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
