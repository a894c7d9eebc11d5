//! The SDK's features: what libraries log becomes the plugin's lines, and k8s-openapi's types are
//! declared and read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use haptic_guest::{Config, Error, Plugin, Store, Watch, log::Level, output};
use haptic_harness::{Harness, LogLevel};
use k8s_openapi::api::networking::v1::Ingress;

struct Talker;

impl Plugin for Talker {
    fn describe(_: &Config) -> Result<Vec<Watch>, Error> {
        log::info!("from log, in describe");
        Ok(vec![Watch::of::<Ingress>()])
    }

    fn new(_: &Config) -> Result<Self, Error> {
        Ok(Talker)
    }

    fn render(&mut self) -> Result<(), Error> {
        let ingresses: Vec<Ingress> = Store::open("ingresses")?.list()?;
        let classes: Vec<_> = ingresses
            .iter()
            .filter_map(|ingress| ingress.spec.as_ref()?.ingress_class_name.as_deref())
            .collect();
        output::write("classes", &classes.join(" "))?;
        log::warn!(target: "library", "{} ingresses", ingresses.len());
        log::debug!("not this");
        let outer = tracing::info_span!("outer", a = 1);
        let _entered = outer.enter();
        tracing::info!(ingresses = ingresses.len(), name = "web", "from tracing");
        tracing::debug!("nor this");
        haptic_guest::log::set_library_level(Level::Debug);
        log::debug!("but this");
        tracing::info_span!("inner").in_scope(|| tracing::debug!("and this"));
        haptic_guest::log::set_library_level(Level::Info);
        Ok(())
    }
}

#[test]
fn what_libraries_log_becomes_the_plugins_lines_with_their_spans() {
    let mut test = Harness::native::<Talker>().load().unwrap();
    test.assert_logged(LogLevel::Info, "from log, in describe");
    test.take_logs();
    test.given(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {ingressClassName: haproxy}
",
    );
    test.sync();
    assert_eq!(test.output("classes"), "haproxy");
    let lines: Vec<_> = test
        .logs()
        .into_iter()
        .map(|line| (line.level, line.target, line.message, line.fields))
        .collect();
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let line = |level, target: &str, message: &str, fields: &[(String, String)]| {
        (
            level,
            target.to_owned(),
            message.to_owned(),
            fields.to_vec(),
        )
    };
    assert_eq!(
        lines,
        [
            line(LogLevel::Warn, "library", "1 ingresses", &[]),
            line(
                LogLevel::Info,
                "libraries",
                "from tracing",
                &[
                    field("ingresses", "1"),
                    field("name", "web"),
                    field("span", "outer{a=1}")
                ]
            ),
            line(LogLevel::Debug, "libraries", "but this", &[]),
            line(
                LogLevel::Debug,
                "libraries",
                "and this",
                &[field("span", "outer{a=1}:inner")]
            ),
        ]
    );
}
