//! What is wrong is said word by word: before anything starts, and while it renders.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use haptic_harness::{Builder, LogLevel, test_both};
use serde_json::json;
use support::{CLUSTER, COMPONENT, load, one, refused, settings};
use template_plugin::Template;

/// Why the template cannot be rendered from the cluster, without the harness's own words.
fn failure(plugin: Builder, yaml: &str) -> String {
    let mut test = load(plugin, yaml);
    test.given(CLUSTER);
    let error = test.try_sync().unwrap_err().to_string();
    assert!(test.outputs().is_empty());
    let from = error.find("file \"").unwrap_or_else(|| panic!("{error}"));
    let text = error[from..].lines().next().unwrap_or_default();
    text.to_owned()
}

test_both! {
    Template, COMPONENT;

    fn every_mistake_of_every_template_is_told_at_once(plugin: Builder) {
        let settings = settings(r#"
templateSnippets:
  broken: "{% if x %}"
  calls: |
    first line
    {{ resources.service.list() }} {{ resources.services.lst() }}
files:
  a.txt: |
    {% include "call" %}
    {{ secret | b64decod }} {{ 1 is wrd }}
    {% for s in resources["slice"] %}{{ s.x }}{{ r }}{% endfor %}
  b.txt: "{% macro m(a) %}{{ a }}{{ caller() }}{{ self }}{% endmacro %}{{ m(1) }}{{ fial('x') }}"
  "{{ svc.metadata.name }}.txt":
    forEach: services
    as: service
    template: "{{ service.x }}{{ object }}"
"#);
        assert_eq!(
            refused(plugin, settings).split("; ").collect::<Vec<_>>(),
            [
                "settings: field `templateSnippets.broken`: line 1, column 9: unexpected end of input, expected end of block",
                "field `templateSnippets.calls`: line 2, column 4: there is no watch `service` in `watchedResources` (did you mean `services`?)",
                "field `templateSnippets.calls`: line 2, column 53: a watch has no method `lst` (did you mean `list`?), but list, fetch, get_single, get, by",
                "field `files['a.txt'].template`: line 1, column 4: there is no snippet \"call\" (did you mean `calls`?)",
                "field `files['a.txt'].template`: line 2, column 4: nothing sets a variable `secret` here, nor is there a function of this name",
                "field `files['a.txt'].template`: line 2, column 13: there is no filter `b64decod` (did you mean `b64decode`?)",
                "field `files['a.txt'].template`: line 2, column 33: there is no test `wrd`",
                "field `files['a.txt'].template`: line 3, column 13: there is no watch `slice` in `watchedResources` (did you mean `slices`?)",
                "field `files['a.txt'].template`: line 3, column 46: nothing sets a variable `r` here, nor is there a function of this name",
                "field `files['b.txt'].template`: line 1, column 75: nothing sets a variable `fial` here, nor is there a function of this name (did you mean `fail`?)",
                "field `files['{{ svc.metadata.name }}.txt']`: line 1, column 4: nothing sets a variable `svc` here, nor is there a function of this name",
                "field `files['{{ svc.metadata.name }}.txt'].template`: line 1, column 19: nothing sets a variable `object` here, nor is there a function of this name",
            ]
        );
    }

    fn settings_that_cannot_work_are_told_at_once(plugin: Builder) {
        let wrong = json!({
            "fuel": 0,
            "watchedResources": {"pods": {"apiVersion": "v1", "resources": "pods", "namespaces": ["a"], "namespacedWatch": true}},
            "files": {
                "one.txt": {"template": "", "forEach": "pod"},
                "{{ x }}": {"template": "", "as": "pod"},
                "{{ vars.x }}": {"template": "", "forEach": "pods", "as": "vars"},
            },
        });
        assert_eq!(
            refused(plugin, wrong).split("; ").collect::<Vec<_>>(),
            [
                "settings: field `watchedResources.pods`: `namespaces` and `namespacedWatch` exclude each other",
                "field `files['one.txt'].forEach`: there is no watch `pod` (did you mean `pods`?)",
                "field `files['one.txt']`: the path is the same for all objects (tell them apart, as in `{{ object.metadata.name }}.conf`)",
                "field `files['{{ vars.x }}'].as`: \"vars\" cannot be a variable's name, or is taken",
                "field `files['{{ x }}'].as`: names the objects of `forEach`, which is missing",
                "field `files['{{ x }}']`: a path is a template only together with `forEach`",
                "field `fuel`: 0 renders nothing",
            ]
        );
    }

    fn nothing_to_watch_and_nothing_to_render_are_mistakes(plugin: Builder) {
        assert_eq!(
            refused(plugin, json!({})),
            "settings: field `watchedResources`: there must be one, else nothing is ever rendered; \
             field `files`: there must be one, else nothing is ever rendered"
        );
    }

    fn a_key_that_is_unknown_or_of_another_type_is_named(plugin: Builder) {
        let settings = json!({
            "watchedResources": {}, "files": {"a": {"template": "", "foreach": "x"}},
        });
        assert_eq!(
            refused(plugin, settings),
            "settings: field `files.a.foreach`: unknown field `foreach`, expected one of `template`, `forEach`, `as`, `onError`"
        );
    }

    fn a_duration_that_is_none_is_named(plugin: Builder) {
        let settings = json!({
            "watchedResources": {"pods": {"apiVersion": "v1", "resources": "pods", "debounceInterval": "5 min"}},
            "files": {"a": ""},
        });
        assert_eq!(
            refused(plugin, settings),
            "settings: field `watchedResources.pods.debounceInterval`: \"5 min\" is no duration; write `500ms`, `10s` or `1m30s`"
        );
    }

    fn what_is_undefined_is_named_with_its_place(plugin: Builder) {
        assert_eq!(
            failure(plugin, &one("line 1\n  {{ resources.services.get('shop', 'web').spec.nothing }}")),
            "file \"out\": line 2, column 6: `(...).spec.nothing` is undefined; where it may be missing, write `| default(…)` or `dig`"
        );
    }

    fn what_is_undefined_on_the_way_is_named(plugin: Builder) {
        assert_eq!(
            failure(plugin, &one("{% set s = resources.services.list()[0] %}\n{{ s.metadata.annotations.x }}")),
            "file \"out\": line 2, column 14: `s.metadata.annotations` is undefined; where it may be missing, write `| default(…)` or `dig`"
        );
    }

    fn an_error_in_a_snippet_has_the_snippets_place_and_the_files_object(plugin: Builder) {
        assert_eq!(
            failure(plugin, r#"
templateSnippets:
  address: |
    address:
    {{ object.spec.address }}
files:
  "{{ object.metadata.name }}":
    forEach: services
    template: '{% include "address" %}'
"#),
            "file \"{{ object.metadata.name }}\" of services blog/web: snippet \"address\", line 2, column 4: `object.spec.address` is undefined; where it may be missing, write `| default(…)` or `dig`"
        );
    }

    fn fail_stops_with_its_text(plugin: Builder) {
        assert_eq!(
            failure(plugin, &one("{{ fail('no port for ' ~ resources.services.list()[1].metadata.name) }}")),
            "file \"out\": line 1, column 4: no port for web"
        );
    }

    fn several_objects_are_no_single_one(plugin: Builder) {
        assert_eq!(
            failure(plugin, &one("{{ resources.slices.get_single('shop', 'web') }}")),
            "file \"out\": line 1, column 20: resources.slices.get_single: 2 objects have the keys shop, web; `fetch` answers all of them"
        );
    }

    fn keys_that_the_index_does_not_have_are_told(plugin: Builder) {
        assert_eq!(
            failure(plugin, &one("{{ resources.services.fetch('shop', 'web', 'x') }}")),
            "file \"out\": line 1, column 22: resources.services.fetch: invalid keys: 3 keys were given, but the index has 2"
        );
    }

    fn an_index_that_is_not_there_is_told(plugin: Builder) {
        assert_eq!(
            failure(plugin, &one("{{ resources.services.by('by-host', 'x') }}")),
            "file \"out\": line 1, column 22: resources.services.by: no index named `by-host`"
        );
    }

    fn a_key_that_is_missing_is_told(plugin: Builder) {
        assert_eq!(
            failure(plugin, &one("{{ resources.services.fetch(resources.services.list()[0].x) }}")),
            "file \"out\": line 1, column 22: `(...)[0].x` is undefined; where it may be missing, write `| default(…)` or `dig`"
        );
    }

    fn none_is_not_printed(plugin: Builder) {
        assert_eq!(
            failure(plugin, &one("{{ resources.services.get_single('shop', 'gone') }}")),
            "file \"out\": line 1, column 4: this is `none`, which is no text; give `dig` a default, or ask `if` first"
        );
    }

    fn what_is_no_base64_is_told(plugin: Builder) {
        assert_eq!(failure(plugin, &one("{{ '!' | b64decode }}")), "file \"out\": line 1, column 10: b64decode: this is no base64: Invalid symbol 33, offset 0.");
    }

    fn a_loop_without_end_runs_out_of_fuel(plugin: Builder) {
        let template = "{% for i in range(9999) %}{% for j in range(9999) %}{% for k in range(9999) %}{% endfor %}{% endfor %}{% endfor %}";
        assert_eq!(
            failure(plugin, &json!({"files": {"out": template}, "fuel": 100_000}).to_string()),
            "file \"out\": line 1: it takes too many steps; read with `fetch` instead of going through `list` again and again, or raise `fuel`"
        );
    }

    fn a_recursion_without_end_is_an_error_and_no_trap(plugin: Builder) {
        let error = failure(plugin, &one("{% macro m(n) %}{% if true %}{{ m([n]) }}{% endif %}{% endmacro %}{{ m(1) }}"));
        assert!(error.contains("recursion"), "{error}");
    }

    fn templates_nested_as_deep_as_they_may_be_are_checked(plugin: Builder) {
        let deep = format!("{{{{ {}x{} }}}}", "(".repeat(60), ")".repeat(60));
        let error = refused(plugin, settings(&one(&deep)));
        assert!(error.contains("nothing sets a variable `x` here"), "{error}");
    }

    fn two_files_of_one_path_are_refused(plugin: Builder) {
        assert_eq!(
            failure(plugin, r#"
files:
  "{{ object.metadata.name }}.txt": {forEach: services, template: x}
"#),
            "file \"{{ object.metadata.name }}.txt\" of services shop/web: \"web.txt\" is written already, as file \"{{ object.metadata.name }}.txt\" of services blog/web; give them different paths"
        );
    }

    fn a_path_that_leaves_the_output_directory_is_refused(plugin: Builder) {
        assert_eq!(
            failure(plugin, r#"
files:
  "{{ object.spec.clusterIP }}/../../x": {forEach: services, template: x}
"#),
            "file \"{{ object.spec.clusterIP }}/../../x\" of services blog/web: the path is \"10.0.0.2/../../x\"; it must be relative, without `.`, `..` and empty parts"
        );
    }

    fn a_file_that_may_fail_holds_nobody_up(plugin: Builder) {
        let mut test = load(plugin, r#"
files:
  "{{ object.metadata.namespace }}.txt":
    forEach: services
    onError: skip
    template: "{{ object.spec.ports[0].port }}"
  all.txt: "{{ resources.services | length }}"
"#);
        test.given(CLUSTER).sync();
        let names: Vec<_> = test.outputs().keys().collect();
        assert_eq!(names, ["all.txt", "shop.txt"]);
        test.assert_logged(LogLevel::Warn, "stays as it is");
        // A warning is news once, and what is mended is written.
        test.take_logs();
        test.apply(CLUSTER.replace("10.0.0.2", "10.0.0.9")).settle();
        test.assert_quiet(LogLevel::Warn);
        test.apply(CLUSTER.replace("{clusterIP: 10.0.0.2}", "{ports: [{port: 8}]}")).settle();
        assert_eq!(test.output("blog.txt"), "8");
        // Worse again: the file stays.
        test.apply(CLUSTER).settle();
        assert_eq!(test.output("blog.txt"), "8");
        test.assert_logged(LogLevel::Warn, "blog/web stays as it is");
    }
}
