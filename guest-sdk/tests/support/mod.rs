//! A small backend in place of the host, which writes down what it is asked.

#![allow(dead_code, reason = "each of the tests' programs takes what it needs")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use haptic_guest::log::Level;
use haptic_guest::native::{Backend, run};
use haptic_guest::output::OutputError;
use haptic_guest::store::Page;
use haptic_guest::{Change, ChangeKind, StoreError};
use serde_json::Value;

/// One store, `pods`, of a few JSON texts by (namespace, name), with an index, `all`, that finds
/// everything.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) pods: BTreeMap<(String, String), String>,
    /// What selections answer: the one of these with as many columns as are asked for.
    pub(crate) columns: Vec<String>,
    pub(crate) synced: Cell<bool>,
    pub(crate) config: RefCell<String>,
    pub(crate) outputs: RefCell<Vec<(String, Vec<u8>)>>,
    pub(crate) lines: RefCell<Vec<String>>,
    pub(crate) asked: RefCell<Vec<String>>,
}

impl Fake {
    pub(crate) fn with_pods(pods: &[(&str, &str, &str)]) -> Rc<Fake> {
        let pods = pods.iter().map(|(namespace, name, rest)| {
            let object =
                format!(r#"{{"metadata":{{"namespace":"{namespace}","name":"{name}"}}{rest}}}"#);
            (((*namespace).to_owned(), (*name).to_owned()), object)
        });
        Rc::new(Fake {
            pods: pods.collect(),
            synced: Cell::new(true),
            config: RefCell::new("{}".to_owned()),
            ..Fake::default()
        })
    }

    fn ask(&self, question: String) {
        self.asked.borrow_mut().push(question);
    }

    pub(crate) fn run<R>(self: &Rc<Self>, body: impl FnOnce() -> R) -> R {
        run(self.clone(), body)
    }
}

impl Backend for Fake {
    fn open(&self, store: &str) -> Result<(), StoreError> {
        match store {
            "pods" => Ok(()),
            unknown => Err(StoreError::NoSuchStore(unknown.to_owned())),
        }
    }

    fn all_synced(&self) -> bool {
        self.synced.get()
    }

    fn len(&self, _: &str) -> u32 {
        self.pods.len().try_into().unwrap()
    }

    fn revision(&self, _: &str) -> u64 {
        7
    }

    fn get(&self, store: &str, keys: &[&str]) -> Result<Vec<String>, StoreError> {
        self.ask(format!("get {store} {keys:?}"));
        let found = self.pods.iter().filter(|((namespace, name), _)| {
            let key = [namespace.as_str(), name.as_str()];
            key.starts_with(keys)
        });
        Ok(found.map(|(_, pod)| pod.clone()).collect())
    }

    fn get_by(&self, store: &str, index: &str, keys: &[&str]) -> Result<Vec<String>, StoreError> {
        self.ask(format!("get-by {store} {index} {keys:?}"));
        match index {
            "all" => Ok(self.pods.values().cloned().collect()),
            unknown => Err(StoreError::NoSuchIndex(unknown.to_owned())),
        }
    }

    fn get_object(&self, _: &str, ns: &str, name: &str) -> Result<Option<String>, StoreError> {
        Ok(self.pods.get(&(ns.to_owned(), name.to_owned())).cloned())
    }

    fn list(&self, _: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.pods.values().cloned().collect())
    }

    /// The cursor is the number of objects before the page.
    fn page(&self, _: &str, cursor: Option<&str>, limit: u32) -> Result<Page<String>, StoreError> {
        self.ask(format!("page {cursor:?} {limit}"));
        let start = match cursor.map(str::parse::<usize>) {
            None => 0,
            Some(Ok(start)) => start,
            Some(Err(_)) => return Err(StoreError::InvalidCursor("x".to_owned())),
        };
        let end = (start + usize::try_from(limit).unwrap()).min(self.pods.len());
        Ok(Page {
            items: self.pods.values().take(end).skip(start).cloned().collect(),
            next: (end < self.pods.len()).then(|| end.to_string()),
        })
    }

    fn select(&self, store: &str, fields: &[&str], keys: &[&str]) -> Result<String, StoreError> {
        self.ask(format!("select {store} {fields:?} {keys:?}"));
        let width = |text: &String| serde_json::from_str::<Vec<Value>>(text).unwrap().len();
        let found = self.columns.iter().find(|text| width(text) == fields.len());
        Ok(found.unwrap().clone())
    }

    fn changes(&self, _: &str) -> Result<Vec<Change>, StoreError> {
        Ok(vec![Change {
            kind: ChangeKind::Deleted,
            namespace: "a".to_owned(),
            name: "gone".to_owned(),
        }])
    }

    fn write(&self, name: &str, content: &str) -> Result<(), OutputError> {
        self.write_bytes(name, content.as_bytes())
    }

    fn write_bytes(&self, name: &str, content: &[u8]) -> Result<(), OutputError> {
        if name.is_empty() {
            return Err(OutputError::InvalidName("it is empty".to_owned()));
        }
        let output = (name.to_owned(), content.to_owned());
        self.outputs.borrow_mut().push(output);
        Ok(())
    }

    fn log(&self, level: Level, target: &str, message: &str, fields: &[(&str, &str)]) {
        let line = format!("{level:?} {target} {message} {fields:?}");
        self.lines.borrow_mut().push(line);
    }

    fn config(&self) -> String {
        self.config.borrow().clone()
    }
}
