//! What typed views ask of the host: their columns, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{borrow::Cow, rc::Rc};

use haptic_guest::{Resource, StoreError};

use support::Fake;

#[derive(Debug, PartialEq, Resource)]
#[resource(api_version = "v1", plural = "pods")]
struct Pod {
    name: String,
    #[field("spec.port")]
    port: Option<u16>,
}

/// With a path that only the host can evaluate.
#[derive(Debug, PartialEq, Resource)]
#[resource(api_version = "v1", plural = "pods")]
struct Named {
    #[field("spec.ports[?@.name == 'http'].port")]
    http: Vec<u16>,
}

#[derive(Resource)]
#[resource(api_version = "v1", plural = "pods")]
struct Borrowed<'a> {
    name: Cow<'a, str>,
    uid: &'a str,
}

/// A host that answers selections with these.
fn selecting(columns: &[&str]) -> Rc<Fake> {
    let pods = Fake::with_pods(&[("a", "one", ""), ("a", "two", ""), ("b", "one", "")]);
    let mut pods = Rc::into_inner(pods).unwrap();
    pods.columns = columns.iter().map(ToString::to_string).collect();
    Rc::new(pods)
}

#[test]
fn a_typed_list_is_one_selection_of_its_columns() {
    let host = selecting(&[r#"[["one","two"],[1,null]]"#]);
    let pods = host.run(|| Pod::list().unwrap());
    let pod = |name: &str, port| Pod {
        name: name.to_owned(),
        port,
    };
    assert_eq!(pods, [pod("one", Some(1)), pod("two", None)]);
    assert_eq!(
        *host.asked.borrow(),
        [r#"select pods ["metadata.name", "spec.port"] []"#]
    );
}

#[test]
fn rows_borrow_their_strings_from_the_answer() {
    let host = selecting(&[r#"[["plain","with \"quotes\""],["1","2"]]"#]);
    host.run(|| {
        let columns = Borrowed::columns(&Borrowed::store().unwrap(), &[]).unwrap();
        let rows: Vec<Borrowed<'_>> = columns.typed().unwrap().map(Result::unwrap).collect();
        assert!(matches!(rows[0].name, Cow::Borrowed("plain")));
        assert_eq!(rows[1].name, r#"with "quotes""#);
        assert!(
            columns
                .json()
                .as_bytes()
                .as_ptr_range()
                .contains(&rows[0].uid.as_ptr())
        );
    });
}

#[test]
fn rows_that_do_not_fit_are_read_again_with_their_names() {
    let host = selecting(&[
        r#"[["one","two"],[1,true]]"#,
        r#"[["a","a"],["one","two"],["one","two"],[1,true]]"#,
    ]);
    host.run(|| {
        let rows: Vec<_> = Pod::store().unwrap().rows::<Pod>(&["a"]).unwrap().collect();
        assert!(rows[0].is_ok());
        assert_eq!(
            rows[1].as_ref().unwrap_err().to_string(),
            "a/two, field `spec.port`: invalid type: boolean `true`, expected u16"
        );
    });
}

#[test]
fn views_by_an_index_read_the_store_once_however_many_there_are() {
    let host = selecting(&[r#"[["a","a","b"],["one","two","one"],[[80],[],[8080,81]]]"#]);
    let views = host.run(|| {
        let store = Named::store().unwrap();
        let views: Vec<Named> = store.views_by("all", &["x"]).unwrap();
        assert_eq!(
            store.view::<Named>("b", "one").unwrap(),
            Some(Named {
                http: vec![8080, 81]
            })
        );
        assert_eq!(store.view::<Named>("b", "two").unwrap(), None);
        views.into_iter().map(|view| view.http).collect::<Vec<_>>()
    });
    assert_eq!(views, [vec![80], vec![], vec![8080, 81]]);
    let select = r#"select pods ["metadata.namespace", "metadata.name", "spec.ports[?@.name == 'http'].port"] []"#;
    assert_eq!(
        *host.asked.borrow(),
        [r#"get-by pods all ["x"]"#, select, select]
    );
}

#[test]
fn views_by_an_index_with_plain_paths_read_what_was_found_and_no_more() {
    let host = selecting(&[]);
    let views = host.run(|| {
        Pod::store()
            .unwrap()
            .views_by::<Pod>("all", &["x"])
            .unwrap()
    });
    assert_eq!(views.len(), 3);
    assert_eq!(*host.asked.borrow(), [r#"get-by pods all ["x"]"#]);
}

#[test]
fn a_view_that_the_host_must_evaluate_cannot_be_made_from_json() {
    let pod = Pod::from_json(r#"{"metadata":{"name":"x"},"spec":{"port":7}}"#).unwrap();
    assert_eq!(pod.port, Some(7));
    let Err(StoreError::Other(why)) = Named::from_json("{}") else {
        panic!("a filter was evaluated");
    };
    assert!(why.contains("read it from a store"), "{why}");
}
