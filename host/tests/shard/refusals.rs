//! What does not go together, before any cluster is asked.

use super::support::{guest, host, run, told};

#[track_caller]
fn refused(words: &[&str], sentence: &str) {
    let mut command = host();
    command.env("POD_NAME", "web");
    command
        .arg("--plugin")
        .arg(guest("hello_plugin"))
        .args(words);
    let (code, stdout, stderr) = run(&mut command);
    assert_eq!(
        (code, stdout.as_str()),
        (Some(2), ""),
        "{words:?}: {stderr}"
    );
    assert!(told(&stderr).contains(sentence), "{words:?}: {stderr}");
}

#[test]
fn a_shard_that_is_none_is_refused_with_what_to_write() {
    refused(
        &["--shard", "4/4"],
        "there is no shard 4 of 4: they are numbered from 0 to 3",
    );
    refused(&["--shard", "4"], "write INDEX/COUNT, such as `0/4`");
    refused(
        &["--shard=0/4", "--shard-by=name"],
        "write `namespace` or `object`",
    );
    refused(
        &["--shard", "auto/4"],
        "no shard: `auto/4` takes the shard from the number at the end of the pod's name, as a StatefulSet gives it, and \"web\" has none",
    );
    refused(&["--shard-by", "object"], "give --shard with it");
}

#[test]
fn an_output_that_all_shards_would_write_is_refused_with_one_that_each_has() {
    refused(
        &["--shard", "0/4", "--output", "configmap:shop/rendered"],
        "plugin hello_plugin: configmap:shop/rendered would be written by all 4 shards: give each its own, such as configmap:shop/rendered-{shard}",
    );
    // Hosts that take turns at a directory would take turns with those of other shards.
    refused(
        &["--shard=0/4", "--output=out", "--leader-elect"],
        "such as out/{shard}",
    );
    refused(
        &["--output", "configmap:rendered-{shard}"],
        "this host is no shard: give --shard",
    );
}
