#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by panicking"
)]

use super::*;

fn secrets() -> WatchSpec {
    WatchSpec {
        name: "secrets".to_owned(),
        api_version: "v1".to_owned(),
        resources: "secrets".to_owned(),
        storage: Storage::Cached,
        ..WatchSpec::default()
    }
}

fn texts(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

#[track_caller]
fn check(spec: WatchSpec, metadata_only: bool) {
    let plan = spec.plan().unwrap();
    assert_eq!(plan.metadata_only(), metadata_only);
    let keep = match (plan.storage, metadata_only) {
        (Storage::Memory, _) => Keep::Body,
        (Storage::Cached, true) => Keep::Version,
        (Storage::Cached, false) => Keep::Digest,
    };
    assert_eq!(plan.projection().content, keep);
    assert_eq!(plan.body_spec().content, Keep::Body);
}

#[test]
fn s6_a_cached_watch_does_with_metadata_where_its_paths_allow() {
    check(secrets(), true);
    check(
        WatchSpec {
            index_by: texts(&["metadata.labels['app']", "{.metadata.namespace}"]),
            indexes: vec![("by-owner".into(), texts(&["metadata.annotations[*]"]))],
            // The server selects by these.
            field_selector: Some("type=kubernetes.io/tls,metadata.name!=a".into()),
            keep_fields: texts(&["data"]),
            ..secrets()
        },
        true,
    );
    for (index_by, by_type, fields) in [
        (texts(&["type"]), texts(&["metadata.name"]), ""),
        (texts(&["metadata.name"]), texts(&["type"]), ""),
        (texts(&["metadata.name"]), texts(&["*.name"]), ""),
        (texts(&["metadata.name"]), texts(&["$..name"]), ""),
        (
            texts(&["metadata.name"]),
            texts(&["metadata.name"]),
            "data.key=x",
        ),
    ] {
        let spec = WatchSpec {
            index_by,
            indexes: vec![("by-type".into(), by_type)],
            field_selector: Some(fields.into()),
            ..secrets()
        };
        check(spec, false);
    }
    let memory = WatchSpec {
        storage: Storage::Memory,
        ..secrets()
    };
    check(memory, false);
}

#[test]
fn s6_a_cached_watch_of_one_object_is_refused_and_so_is_an_endless_ttl() {
    let spec = WatchSpec {
        object_name: Some("tls".into()),
        cache_ttl: Some(Duration::from_hours(25)),
        ..secrets()
    };
    let places: Vec<_> = spec
        .plan()
        .unwrap_err()
        .into_iter()
        .map(|e| e.place)
        .collect();
    assert_eq!(
        places,
        [
            "watch \"secrets\", storage",
            "watch \"secrets\", cache-ttl-ms"
        ]
    );
    assert_eq!(
        secrets().plan().unwrap().cache_ttl,
        Duration::from_secs(130)
    );
}

#[test]
fn s6_bodies_are_shared_where_resource_and_filters_agree() {
    let filter = |change: fn(&mut WatchSpec)| {
        let mut spec = secrets();
        change(&mut spec);
        spec.plan().unwrap().filter
    };
    let plain = filter(|_| {});
    assert_eq!(
        plain,
        filter(|spec| {
            spec.name = "others".into();
            spec.index_by = texts(&["metadata.name"]);
            spec.cache_ttl = Some(Duration::ZERO);
        })
    );
    assert_ne!(plain, filter(|spec| spec.resources = "configmaps".into()));
    assert_ne!(plain, filter(|spec| spec.keep_fields = texts(&["data"])));
    assert_ne!(plain, filter(|spec| spec.ignore_fields = texts(&["data"])));
}

fn spec(name: &str) -> WatchSpec {
    WatchSpec {
        name: name.to_owned(),
        api_version: "v1".to_owned(),
        resources: "configmaps".to_owned(),
        ..WatchSpec::default()
    }
}

#[test]
fn i2_every_error_of_all_watches_is_reported_at_once_with_its_place() {
    let first = WatchSpec {
        index_by: texts(&["metadata.namespace", "a[b]"]),
        ignore_fields: texts(&["{range .items[*]}{end}", "status", "a..b..c..d"]),
        keep_fields: texts(&["spec."]),
        label_selector: Some("a in b".to_owned()),
        field_selector: Some("spec.x".to_owned()),
        ..spec("first")
    };
    let second = WatchSpec {
        api_version: "a/b/c".to_owned(),
        indexes: vec![
            ("by-host".to_owned(), texts(&["spec.host", "x["])),
            ("by-host".to_owned(), texts(&[])),
        ],
        ..spec("second")
    };
    let errors = plan_all(&[first, spec("fine"), second, spec("fine")]).expect_err("all wrong");
    let places: Vec<_> = errors.0.iter().map(|error| error.place.as_str()).collect();
    assert_eq!(
        places,
        [
            r#"watch "first", label-selector"#,
            r#"watch "first", field-selector"#,
            r#"watch "first", index-by[1]"#,
            r#"watch "first", ignore-fields[0]"#,
            r#"watch "first", ignore-fields[2]"#,
            r#"watch "first", keep-fields[0]"#,
            r#"watch "second", api-version"#,
            r#"watch "second", indexes[0] `by-host`[1]"#,
            r#"watch "second", indexes[1]"#,
            r#"watch "second", indexes[1]"#,
            r#"watch "fine""#,
        ]
    );
    let text = errors.to_string();
    assert_eq!(text.lines().count(), places.len(), "{text}");
    assert!(
        text.contains(
            r#"watch "first", index-by[1]: in path "a[b]", column 3: quote the name: ['b']"#
        ),
        "{text}"
    );
}

#[test]
fn i5_the_usual_index_is_answered_from_the_objects_themselves() {
    let plan = spec("maps").plan().expect("a valid watch");
    assert_eq!(plan.index_specs.len(), 1);
    assert!(plan.index_specs[0].identity && plan.index_specs[0].arity == 2);
    assert_eq!(plan.projection().indexes, [IndexPaths::default()]);
    let other = WatchSpec {
        index_by: texts(&["metadata.name", "metadata.namespace"]),
        ..spec("maps")
    };
    let plan = other.plan().expect("a valid watch");
    assert!(
        !plan.index_specs[0].identity,
        "another order is another index"
    );
}

#[test]
fn invariant_7_mistakes_are_shown_up_to_a_hundred_and_none_is_long() {
    let long = "é".repeat(1 << 16);
    let spec = WatchSpec {
        name: long.clone(),
        api_version: long.clone(),
        index_by: vec!["a[".to_owned(); 8],
        indexes: vec![(long.clone(), vec![long.clone(); 8]); 17],
        keep_fields: vec!["a[".to_owned(); 256],
        ..secrets()
    };
    let SpecErrors(errors) = plan_all(&vec![spec; 3]).unwrap_err();
    assert_eq!(errors.len(), 101);
    let last = "describe: there is more: only the first mistakes are shown";
    assert_eq!(errors.last().unwrap().to_string(), last);
    for error in &errors {
        assert!(error.to_string().len() < 4_096, "{error}");
    }
    let indexes = "17 indexes: a watch has at most 16";
    assert!(errors.iter().any(|error| error.message == indexes));
}

#[test]
fn p6_what_every_object_would_wait_for_is_bounded() {
    #[track_caller]
    fn refused(spec: &WatchSpec, place: &str, message: &str) {
        let errors = spec.plan().unwrap_err();
        let found = errors
            .iter()
            .any(|e| e.place.ends_with(place) && e.message.contains(message));
        assert!(found, "{errors:?}");
    }
    let costly = |count: usize| WatchSpec {
        ignore_fields: (0..count).map(|i| format!("$..f{i}")).collect(),
        ..secrets()
    };
    assert!(costly(16).plan().is_ok());
    refused(&costly(17), "paths", "17 of them have filters");
    let label = |length: usize| WatchSpec {
        label_selector: Some("a".repeat(length)),
        ..secrets()
    };
    refused(
        &label((64 << 10) + 1),
        "label-selector",
        "is longer than 65536 bytes",
    );
    let field = WatchSpec {
        field_selector: Some("a=b,".repeat(2_000)),
        ..secrets()
    };
    refused(&field, "field-selector", "is longer than 4096 bytes");
    // The check that no namespace stands twice would take hours.
    let namespaces = WatchSpec {
        scope: ScopeSpec::Namespaces((0..1_000_000).map(|i| format!("n{i}")).collect()),
        ..secrets()
    };
    refused(&namespaces, "scope", "more than 256 namespaces");
}

#[test]
fn a_watch_is_shared_by_shards_unless_it_is_of_one_object_or_says_that_each_needs_all() {
    let shard = Shard::new(1, 4, ShardBy::Namespace).unwrap();
    let check = |change: fn(&mut WatchSpec), shared: bool| {
        let mut spec = secrets();
        change(&mut spec);
        let plan = spec.plan().unwrap();
        assert_eq!(plan.shard, None, "the whole, unless told");
        let plan = plan.in_shard(shard);
        assert_eq!(plan.shard.is_some(), shared, "{spec:?}");
        assert_eq!(plan.projection().shard, plan.shard);
    };
    fn option(spec: &mut WatchSpec, value: &str) {
        spec.extra.push(("shard".to_owned(), value.to_owned()));
    }
    check(|_| {}, true);
    check(|spec| option(spec, "true"), true);
    check(|spec| option(spec, "false"), false);
    check(|spec| spec.storage = Storage::Cached, true);
    check(|spec| spec.scope = ScopeSpec::OwnNamespace, false);
    check(
        |spec| {
            spec.scope = ScopeSpec::OwnNamespace;
            option(spec, "true");
        },
        true,
    );
    check(
        |spec| {
            spec.object_name = Some("settings".to_owned());
            spec.storage = Storage::Memory;
        },
        false,
    );

    let mut wrong = secrets();
    option(&mut wrong, "yes");
    let errors = wrong.plan().unwrap_err();
    assert_eq!(errors[0].message, "shard is `true` or `false`, not `yes`");
    let whole = secrets().plan().unwrap();
    let part = secrets().plan().unwrap().in_shard(shard);
    assert!(!whole.same_watch(&part) && part.same_watch(&part.clone()));
    let only = Shard::new(0, 1, ShardBy::Namespace).unwrap();
    assert!(whole.same_watch(&whole.clone().in_shard(only)));
}

#[test]
fn of_listed_namespaces_a_shard_watches_its_own_and_one_at_least() {
    let watched = |list: &[&str], index: u32, by: ShardBy| {
        let spec = WatchSpec {
            scope: ScopeSpec::Namespaces(texts(list)),
            ..secrets()
        };
        let plan = spec.plan().unwrap();
        match plan.in_shard(Shard::new(index, 2, by).unwrap()).scope {
            ScopeSpec::Namespaces(list) => list,
            other => panic!("{other:?}"),
        }
    };
    // The first and the last are shard 0's, the others shard 1's.
    let list = ["shop", "kube-system", "a", "default"];
    assert_eq!(watched(&list, 0, ShardBy::Namespace), ["shop", "default"]);
    assert_eq!(watched(&list, 1, ShardBy::Namespace), ["kube-system", "a"]);
    assert_eq!(watched(&list, 0, ShardBy::Object), list);
    let foreign = ["shop", "default"];
    assert_eq!(watched(&foreign, 1, ShardBy::Namespace), ["shop"]);
}
