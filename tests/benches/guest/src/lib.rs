//! A plugin that does one kind of work a callback, as its settings say: what the benchmarks time.

use haptic_guest::{
    Cache, ChangeStats, Config, Error, Plugin, Resource, Store, StoreError, Watch, output,
};
use serde::Deserialize;

/// What to do in each callback.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Work {
    /// Nothing.
    Nothing,
    /// Read objects by their full key.
    Get,
    /// Read objects by namespace and name.
    GetObject,
    /// Read three fields of all objects through a typed view.
    Typed,
    /// The same, of rows that borrow their texts.
    Borrowed,
    /// The same from the objects' JSON, into a struct.
    Parsed,
    /// The same from the objects' JSON, by way of a tree.
    Tree,
    /// Bring a cache up to date, and render what changed.
    Cached,
    /// Read everything, and render everything.
    Full,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Settings {
    work: Work,
    /// How often, in one callback.
    #[serde(default)]
    times: u32,
    /// Store only what the view names.
    #[serde(default)]
    slim: bool,
}

/// Three fields of an Ingress.
#[derive(Resource)]
#[resource(api_version = "networking.k8s.io/v1", plural = "ingresses")]
struct Route {
    #[field("spec.ingressClassName")]
    class: String,
    #[field("spec.rules[*].host")]
    hosts: Vec<String>,
    #[field("metadata.annotations['haproxy.org/timeout-server']")]
    timeout: Option<String>,
}

/// The same, without copies of the texts.
#[derive(Resource)]
#[resource(api_version = "networking.k8s.io/v1", plural = "ingresses")]
struct Borrowed<'a> {
    #[field("spec.ingressClassName")]
    class: &'a str,
    #[field("spec.rules[*].host")]
    hosts: Vec<&'a str>,
    #[field("metadata.annotations['haproxy.org/timeout-server']")]
    timeout: Option<&'a str>,
}

/// The same three fields where they are in the object.
#[derive(Deserialize)]
struct Ingress {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    namespace: String,
    name: String,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(rename = "haproxy.org/timeout-server")]
    timeout: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    ingress_class_name: String,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    host: String,
}

/// The plugin.
pub struct Bench {
    settings: Settings,
    routes: Cache<Route>,
    /// Keeps what is read from being optimised away.
    read: usize,
}

impl Plugin for Bench {
    fn describe(config: &Config) -> Result<Vec<Watch>, Error> {
        let settings: Settings = config.parse()?;
        let watch = match settings.slim {
            true => Route::watch(),
            false => Watch::new("ingresses", "networking.k8s.io/v1", "ingresses")
                .ignore_fields(["metadata.managedFields"]),
        };
        Ok(vec![watch])
    }

    fn new(config: &Config) -> Result<Self, Error> {
        Ok(Bench {
            settings: config.parse()?,
            routes: Cache::new(),
            read: 0,
        })
    }

    fn on_sync_complete(&mut self, store: &Store<'_>, _count: u32) -> Result<(), Error> {
        match self.settings.work {
            Work::Cached => self.render_changes(),
            Work::Full => self.render_all(store),
            Work::Nothing
            | Work::Get
            | Work::GetObject
            | Work::Typed
            | Work::Borrowed
            | Work::Parsed
            | Work::Tree => Ok(()),
        }
    }

    fn on_change(&mut self, store: &Store<'_>, _stats: ChangeStats) -> Result<(), Error> {
        match self.settings.work {
            Work::Nothing => {}
            Work::Get => self.get(store)?,
            Work::GetObject => self.get_object(store)?,
            Work::Typed => {
                for route in Route::list()? {
                    self.see(&route.class, route.hosts.iter(), route.timeout.as_deref());
                }
            }
            Work::Borrowed => {
                let columns = Borrowed::columns(store, &[])?;
                for route in columns.typed::<Borrowed<'_>>()? {
                    let Borrowed {
                        class,
                        hosts,
                        timeout,
                    } = route?;
                    self.see(class, hosts.iter(), timeout);
                }
            }
            Work::Parsed => {
                for ingress in store.list::<Ingress>()? {
                    let hosts = ingress.spec.rules.iter().map(|rule| &rule.host);
                    let timeout = ingress.metadata.annotations.timeout.as_deref();
                    self.see(&ingress.spec.ingress_class_name, hosts, timeout);
                }
            }
            Work::Tree => {
                for ingress in store.list::<serde_json::Value>()? {
                    let text = |path: &str| ingress.pointer(path).and_then(|value| value.as_str());
                    let rules = ingress
                        .pointer("/spec/rules")
                        .and_then(|rules| rules.as_array());
                    let hosts = rules.into_iter().flatten();
                    let hosts =
                        hosts.filter_map(|rule| rule.get("host").and_then(|host| host.as_str()));
                    let class = text("/spec/ingressClassName").unwrap_or_default();
                    let timeout = text("/metadata/annotations/haproxy.org~1timeout-server");
                    self.see(class, hosts, timeout);
                }
            }
            Work::Cached => self.render_changes()?,
            Work::Full => self.render_all(store)?,
        }
        Ok(())
    }
}

/// As the benchmarks name their objects.
fn key(number: u32, count: u32) -> (String, String) {
    let number = number % count.max(1);
    (
        format!("team-{:03}", number / 1_000),
        format!("shop-{number:06}"),
    )
}

impl Bench {
    fn see(
        &mut self,
        class: &str,
        hosts: impl Iterator<Item = impl AsRef<str>>,
        timeout: Option<&str>,
    ) {
        self.read += class.len() + timeout.map_or(0, str::len);
        self.read += hosts.map(|host| host.as_ref().len()).sum::<usize>();
    }

    fn get(&mut self, store: &Store<'_>) -> Result<(), StoreError> {
        let (namespace, name) = key(777, store.len());
        for _ in 0..self.settings.times {
            let found = store.get_json(&[&namespace, &name])?;
            self.read += found.iter().map(String::len).sum::<usize>();
        }
        Ok(())
    }

    fn get_object(&mut self, store: &Store<'_>) -> Result<(), StoreError> {
        let (namespace, name) = key(777, store.len());
        for _ in 0..self.settings.times {
            let found = store.get_object_json(&namespace, &name)?;
            self.read += found.map_or(0, |object| object.len());
        }
        Ok(())
    }

    /// A file for each namespace would be read again for each change; this one is of what changed.
    fn render_changes(&mut self) -> Result<(), Error> {
        let update = self.routes.update()?;
        if update.is_complete {
            let mut text = String::new();
            for (key, route) in &self.routes {
                line(
                    &mut text,
                    &key.namespace,
                    &key.name,
                    route.hosts.iter(),
                    route.timeout.as_deref(),
                );
            }
            output::write("all.txt", &text)?;
            return Ok(());
        }
        for key in &update.changed {
            let mut text = String::new();
            if let Some(route) = self.routes.get(key) {
                line(
                    &mut text,
                    &key.namespace,
                    &key.name,
                    route.hosts.iter(),
                    route.timeout.as_deref(),
                );
            }
            output::write("changed.txt", &text)?;
        }
        Ok(())
    }

    fn render_all(&mut self, store: &Store<'_>) -> Result<(), Error> {
        let mut text = String::new();
        for ingress in store.iter::<Ingress>(5_000) {
            let Ingress { metadata, spec } = ingress?;
            let hosts = spec.rules.iter().map(|rule| &rule.host);
            let timeout = metadata.annotations.timeout.as_deref();
            line(
                &mut text,
                &metadata.namespace,
                &metadata.name,
                hosts,
                timeout,
            );
        }
        output::write("all.txt", &text)?;
        Ok(())
    }
}

/// What is rendered of an object.
fn line(
    text: &mut String,
    namespace: &str,
    name: &str,
    hosts: impl Iterator<Item = impl AsRef<str>>,
    timeout: Option<&str>,
) {
    for part in [namespace, "/", name, " ", timeout.unwrap_or("default")] {
        text.push_str(part);
    }
    for host in hosts {
        text.push(' ');
        text.push_str(host.as_ref());
    }
    text.push('\n');
}

haptic_guest::export!(Bench);
