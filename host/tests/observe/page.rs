//! The page for a person (contract V1), as a browser shows it.

use std::{fs, path::PathBuf, time::Instant};

use serde_json::Value;

use crate::{Host, PATIENCE, cdp::Page, hello, support::root};

/// Waits for what the page shows.
fn shows(page: &mut Page, what: &str, script: &str) {
    let began = Instant::now();
    while page.eval(script) != Value::Bool(true) {
        if began.elapsed() > PATIENCE {
            let text = page.text("document.body.innerText");
            panic!("{what} is not shown; this is:\n{text}");
        }
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
}

fn shows_text(page: &mut Page, section: &str, text: &str) {
    let script = format!(
        "document.querySelector({section:?})?.innerText.includes({})",
        serde_json::to_string(text).unwrap()
    );
    shows(page, &format!("{text:?} in {section}"), &script);
}

/// Nothing but the host was asked, and nothing was complained about. `pardon`: failed
/// requests, of a host that was away.
fn was_quiet(page: &Page, url: &str, pardon: bool) {
    for event in &page.events {
        let params = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Network.requestWillBeSent" => {
                let asked = params["request"]["url"].as_str().unwrap();
                assert!(
                    asked.starts_with(&format!("{url}/")) || asked.starts_with("data:"),
                    "asked {asked}"
                );
            }
            "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" => panic!("{event}"),
            "Log.entryAdded" => {
                let entry = &params["entry"];
                assert!(pardon && entry["source"] == "network", "{entry}");
            }
            _ => {}
        }
    }
}

/// Pictures for whoever wants to see what the page looks like.
fn picture(name: &str) -> PathBuf {
    let dir = root().join("target/screenshots");
    fs::create_dir_all(&dir).unwrap();
    dir.join(format!("{name}.png"))
}

const MARKUP: &str = "<img src=x onerror=\"window.executed=1\">";

#[test]
fn v1_a_person_sees_watches_counts_errors_and_outputs_and_no_text_is_run() {
    let host = Host::start(
        "plugins:\n  \
         hello: {file: hello.wasm}\n  \
         panics: {file: panics.wasm, settings: {mode: panic}}\n  \
         markup: {file: markup.wasm, settings: {mode: markup}, watchedResources: {widgets: \
         {apiVersion: example.com/v1, resources: widgets, required: false}}}\n",
        &[
            ("hello", "hello_plugin"),
            ("panics", "test_guests"),
            ("markup", "test_guests"),
        ],
    );
    let mut page = Page::open();
    page.look(1100, "light");
    page.go(&host.url);

    // Watches with their states and counts, in words.
    shows_text(&mut page, "#watches", "2 objects");
    for text in [
        "configmaps\n",
        "Synced",
        "Up to date",
        "shop",
        "blog",
        "Waiting for the CRD",
        "Waits for the cluster to serve the resource",
        "nothing waits for it",
    ] {
        shows_text(&mut page, "#watches", text);
    }
    shows_text(&mut page, "#plugins", "on-sync-complete configmaps");
    shows_text(&mut page, "#outputs", "configmaps.txt");
    shows_text(
        &mut page,
        "#about",
        &format!("{} · cluster http://127.0.0.1:", env!("CARGO_PKG_VERSION")),
    );
    shows_text(&mut page, "#fresh", "live");

    // An object comes: the count changes, the page stays the same, what was opened stays open.
    page.eval("window.before = document.querySelector('#watches li'); before.querySelector('details').open = true");
    host.put("three");
    shows_text(&mut page, "#watches", "3 objects");
    assert_eq!(
        page.eval("before === document.querySelector('#watches li') && before.querySelector('details').open"),
        Value::Bool(true)
    );

    // A plugin that fails: its state, and its panic in full.
    shows_text(&mut page, "#plugins", "Failing");
    shows_text(&mut page, "#plugins", "panics on purpose");
    shows_text(&mut page, "#plugins", "wasm backtrace");
    shows_text(&mut page, "#trouble", "Plugin panics: failed");

    // Hostile text: of an error, and of an output's name. It is shown, and it is text.
    shows_text(&mut page, "#plugins", MARKUP);
    shows_text(&mut page, "#outputs", MARKUP);
    assert_eq!(
        page.text("`${typeof window.executed} ${document.querySelectorAll('img, main script, main b').length}`"),
        "undefined 0"
    );

    // Without a mouse: every control can be reached, and opened.
    page.eval("document.body.focus(); document.activeElement.blur()");
    page.eval("for (const d of document.querySelectorAll('details')) d.open = false");
    page.press("Tab");
    assert_eq!(page.text("document.activeElement.tagName"), "SUMMARY");
    page.press("Enter");
    shows(
        &mut page,
        "details",
        "document.activeElement.parentElement.open",
    );

    // With ears: headings, landmarks, lists that have a name.
    let tree = page.call("Accessibility.getFullAXTree", serde_json::json!({}));
    let nodes = tree["nodes"].as_array().unwrap();
    let has = |role: &str, name: &str| {
        nodes
            .iter()
            .any(|node| node["role"]["value"] == role && node["name"]["value"] == name)
    };
    for (role, name) in [
        ("heading", "haptic-host"),
        ("heading", "Watches"),
        ("heading", "configmaps"),
        ("region", "Plugins"),
        ("region", "Outputs"),
    ] {
        assert!(has(role, name), "no {role} {name}");
    }

    // No room is too small.
    for (name, width, scheme) in [
        ("desktop-light", 1100, "light"),
        ("desktop-dark", 1100, "dark"),
        ("phone-light", 390, "light"),
        ("phone-dark", 390, "dark"),
        ("watch", 320, "light"),
    ] {
        page.look(width, scheme);
        page.eval("for (const d of document.querySelectorAll('details')) d.open = true");
        assert_eq!(
            page.text(
                "[...document.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right \
                 > document.documentElement.clientWidth + 0.5).map(e => e.outerHTML.slice(0, 100)).join()"
            ),
            "",
            "{name} overflows"
        );
        assert_eq!(
            page.eval("document.documentElement.scrollWidth <= innerWidth"),
            Value::Bool(true),
            "{name} scrolls sideways"
        );
        page.eval("for (const d of document.querySelectorAll('details')) d.open = false");
        page.screenshot(&picture(name));
    }
    was_quiet(&page, &host.url, false);
}

#[test]
fn v1_the_page_says_when_the_host_is_gone_and_goes_on_when_it_is_back() {
    let mut host = hello();
    let mut page = Page::open();
    page.look(390, "light");
    page.go(&host.url);
    shows_text(&mut page, "#watches", "2 objects");
    shows_text(
        &mut page,
        "#summary",
        "Everything is in order: 1 watch up to date and 1 plugin running.",
    );
    shows(
        &mut page,
        "no alarm",
        "document.querySelector('#lost').hidden",
    );
    host.stop();
    shows_text(
        &mut page,
        "#lost",
        "The host does not answer. What you see is from ",
    );
    shows_text(&mut page, "#fresh", "no contact");
    shows_text(&mut page, "#ready", "No contact");
    // What was known last is still there, and looks old.
    shows_text(&mut page, ".old #watches", "2 objects");
    page.screenshot(&picture("phone-lost"));
    host.put("three");
    host.again();
    shows_text(&mut page, "#watches", "3 objects");
    shows(
        &mut page,
        "no alarm",
        "document.querySelector('#lost').hidden",
    );
    shows_text(&mut page, "#fresh", "live");
    shows_text(&mut page, "#ready", "Ready");
    was_quiet(&page, &host.url, true);
}
