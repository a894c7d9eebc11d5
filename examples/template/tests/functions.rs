//! What templates can call: reads of the watches, filters, tests, other templates.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use haptic_harness::{Builder, test_both};
use serde_json::json;
use support::{CLUSTER, COMPONENT, load, one, settings};
use template_plugin::Template;

/// What the template renders from the cluster.
#[track_caller]
fn check(plugin: Builder, template: &str, expected: &str) {
    let mut test = load(plugin, &one(template));
    test.given(CLUSTER).sync();
    assert_eq!(test.output("out"), expected);
}

test_both! {
    Template, COMPONENT;

    fn list_is_everything_in_the_order_of_namespace_and_name(plugin: Builder) {
        check(
            plugin,
            "{% for s in resources.services.list() %}{{ s.metadata.namespace }}/{{ s.metadata.name }} {% endfor %}",
            "blog/web shop/web ",
        );
    }

    fn a_watch_is_a_list_itself(plugin: Builder) {
        check(
            plugin,
            "{{ resources.services | length }}{% for s in resources.services %} {{ s.spec.clusterIP }}{% endfor %}",
            "2 10.0.0.2 10.0.0.1",
        );
    }

    fn fetch_takes_all_keys_or_leading_ones(plugin: Builder) {
        check(
            plugin,
            "{{ resources.slices.fetch('shop') | length }} \
             {{ resources.slices.fetch('shop', 'web') | map(attribute='metadata.name') | join(',') }} \
             {{ resources.slices.fetch('blog', 'web') }} {{ resources.services.fetch('shop')[0].spec.clusterIP }}",
            "2 web-1,web-2 [] 10.0.0.1",
        );
    }

    fn fetch_answers_the_same_from_objects_that_are_kept(plugin: Builder) {
        check(
            plugin,
            "{% set all = resources.slices.list() %}\
             {{ resources.slices.fetch('shop', 'web') | map(attribute='metadata.name') | join(',') }} \
             {{ resources.slices.fetch('blog') }} {{ resources.slices.get('shop', 'web-2').endpoints[0].addresses[0] }}",
            "web-1,web-2 [] 10.1.0.3",
        );
    }

    fn get_single_is_one_object_or_none(plugin: Builder) {
        check(
            plugin,
            "{{ resources.services.get_single('shop', 'web').spec.clusterIP }} \
             {{ resources.services.get_single('shop', 'gone') is none }} \
             {% if resources.services.get_single('shop', 'gone') %}there{% else %}not there{% endif %}",
            "10.0.0.1 True not there",
        );
    }

    fn get_takes_the_identity_whatever_the_index_is(plugin: Builder) {
        check(
            plugin,
            "{{ resources.slices.get('shop', 'web-1').endpoints | length }} {{ resources.slices.get('shop', 'web') is none }}",
            "1 True",
        );
    }

    fn by_reads_a_named_index(plugin: Builder) {
        check(
            plugin,
            "{% for s in resources.services.by('by-app', 'front') %}{{ s.metadata.namespace }}{% endfor %} \
             {{ resources.services.by('by-app', 'back') | length }}",
            "shop 0",
        );
    }

    fn the_spelling_of_haptic_is_understood(plugin: Builder) {
        check(
            plugin,
            "{{ resources.services.List() | length }} {{ resources.services.Fetch('shop') | length }} \
             {{ resources['services'].GetSingle('shop', 'web').metadata.name }}",
            "2 1 web",
        );
    }

    fn python_s_methods_of_texts_and_mappings_work(plugin: Builder) {
        check(
            plugin,
            "{{ 'a,b'.split(',') }} {{ 'shop.example'.startswith('shop') }} \
             {% for k, v in {'x': 1}.items() %}{{ k }}={{ v }}{% endfor %} {{ {'x': 1}.get('y', 2) }}",
            "['a', 'b'] True x=1 2",
        );
    }

    fn base64_goes_both_ways(plugin: Builder) {
        check(
            plugin,
            "{{ 'aGVsbG8=' | b64decode }} {{ 'aGVs\\nbG8=' | b64decode }} {{ 'hello' | b64encode }}",
            "hello hello aGVsbG8=",
        );
    }

    fn globs_match_texts_and_choose_from_lists(plugin: Builder) {
        check(
            plugin,
            "{{ 'prod-web' | glob_match('prod-*') }} {{ 'x' | glob_match('?') }} {{ '' | glob_match('*') }} \
             {{ 'prod-web' | glob_match('*-w?b') }} {{ 'aab' | glob_match('*ab') }} {{ 'ab' | glob_match('b') }} \
             {{ ['a-1', 'b-1', 'a-2'] | glob_match('a-*') | join(',') }}",
            "True True True True True False a-1,a-2",
        );
    }

    fn dig_reaches_what_may_be_missing(plugin: Builder) {
        check(
            plugin,
            "{% set s = resources.services.get('shop', 'web') %}\
             {{ s | dig('spec.ports[1].name') }} {{ s | dig('spec.ports[0].name', 'none') }} \
             {{ s | dig(\"metadata.annotations['a/b']\", 'none') }} {{ none | dig('x', 'none') }} {{ s | dig('x') is none }}",
            "tls none none none True",
        );
    }

    fn extract_flattens(plugin: Builder) {
        check(
            plugin,
            "{{ resources.slices | extract('$.endpoints[*].addresses') | join(' ') }} \
             {{ resources.services.list() | extract('spec.ports[*].port') | join(' ') }}",
            "10.1.0.1 10.1.0.2 10.1.0.3 80 443",
        );
    }

    fn group_by_keeps_the_order_of_groups_and_items(plugin: Builder) {
        check(
            plugin,
            "{% for namespace, objects in (resources.slices.list() + resources.services.list()) | group_by('$.metadata.namespace') | items %}\
             {{ namespace }}:{{ objects | map(attribute='metadata.name') | join(',') }} {% endfor %}",
            "shop:web-1,web-2,web blog:web ",
        );
    }

    fn sort_by_takes_the_criteria_of_haptic(plugin: Builder) {
        check(
            plugin,
            "{% set items = [{'n': 'b', 'p': 1}, {'n': 'a', 'p': 1}, {'n': 'ccc', 'p': 2, 'x': 1}, {'n': 'dd'}] %}\
             {{ items | sort_by(['$.p:desc', '$.n']) | map(attribute='n') | join(',') }} \
             {{ items | sort_by('$.p', '$.n:desc') | map(attribute='n') | join(',') }} \
             {{ items | sort_by(['$.x:exists', '$.n | length:desc', '$.n']) | map(attribute='n') | join(',') }} \
             {{ items | sort_by('x:exists:desc') | map(attribute='n') | join(',') }}",
            "dd,ccc,a,b b,a,ccc,dd ccc,dd,a,b b,a,dd,ccc",
        );
    }

    fn other_filters_and_the_test(plugin: Builder) {
        check(
            plugin,
            "{{ 'a.b*' | regex_escape }} {{ ('x' | sha256)[:8] }} {{ {'a': [1, 'x y']} | to_yaml }}\
             {{ 'shop.example' is word }} {{ 'a b' is word }} {{ '' is word }} {{ 1 is word }}",
            "a\\.b\\* 2d711642 a:\n- 1\n- \"x y\"\nTrue False False False",
        );
    }

    fn snippets_are_imported_included_and_extended(plugin: Builder) {
        let mut test = load(
            plugin,
            r#"
templateSnippets:
  macros: "{% macro line(text) %}[{{ text }}]{% endmacro %}"
  part: |
    {{ word }} of {{ vars.who }}
  base:
    template: "top {% block middle %}base{% endblock %} bottom"
files:
  out: |
    {% extends "base" %}
    {% from "macros" import line %}
    {% block middle %}{% import "macros" as m %}{% set word = "part" %}{{ m.line("x") }} {% include "part" %} {{ super() }}{% endblock %}
  all: "{% for name in template_snippets | glob_match('b*') %}{% include name %}{% endfor %}"
vars: {who: the house}
"#,
        );
        test.given(CLUSTER).sync();
        assert_eq!(test.output("out"), "top [x] part of the house base bottom");
        assert_eq!(test.output("all"), "top base bottom");
    }

    fn a_single_object_is_there_or_not(plugin: Builder) {
        let mut test = load(
            plugin,
            r#"
watchedResources:
  tuning: {apiVersion: v1, resources: configmaps, name: tuning, namespaces: [shop]}
files:
  out: "{{ resources.tuning.get_single() | dig('data.maxconn', 'default') }} {{ resources.tuning | length }}"
"#,
        );
        test.given(CLUSTER).sync();
        assert_eq!(test.output("out"), "default 0");
        let tuning = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "tuning", "namespace": "shop"}, "data": {"maxconn": "9"},
        });
        test.apply(tuning);
        assert_eq!(test.output("out"), "9 1");
        test.delete("v1", "ConfigMap", "shop", "tuning");
        assert_eq!(test.output("out"), "default 0");
    }

    fn a_cached_store_is_read_anew_in_each_callback_that_needs_it(plugin: Builder) {
        let mut test = load(
            plugin,
            r#"
watchedResources:
  secrets: {apiVersion: v1, resources: secrets, store: cached, cacheTTL: 10s}
files:
  out: "{{ resources.secrets.get_single('shop', 'a').data.key | b64decode }}{{ resources.secrets.get('shop', 'a').data.key | b64decode }}"
"#,
        );
        let secret = |name: &str, key: &str| json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": "shop"}, "data": {"key": key},
        });
        test.given(secret("a", "eA==")).given(secret("b", "eQ==")).sync();
        assert_eq!(test.output("out"), "xx");
        // The other one was never fetched.
        assert_eq!(test.fetches("secrets"), 1);
        test.apply(secret("a", "eg==")).settle();
        assert_eq!(test.output("out"), "zz");
    }

    fn a_server_that_cannot_be_reached_is_not_the_templates_fault(plugin: Builder) {
        let mut test = load(
            plugin,
            r#"
watchedResources:
  secrets: {apiVersion: v1, resources: secrets, store: cached}
files:
  out: {onError: skip, template: "{{ resources.secrets.get('shop', 'a').data.key }}"}
"#,
        );
        test.given(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "a", "namespace": "shop"}, "data": {"key": "eA=="},
        }));
        test.unavailable("secrets", "no route to host");
        let error = test.try_sync().unwrap_err().to_string();
        assert!(
            error.contains("file \"out\": resources.secrets.get: unavailable: "),
            "{error}"
        );
        test.available("secrets").settle();
        assert_eq!(test.output("out"), "eA==");
    }

    fn whitespace_is_that_of_jinja_unless_settings_say_otherwise(plugin: Builder) {
        let template = "a\n  {% if true %}\nb\n  {% endif %}\n";
        let mut settings = settings(&one(template));
        settings["trimBlocks"] = json!(true);
        settings["lstripBlocks"] = json!(true);
        let mut test = plugin.settings(settings).load().unwrap();
        test.sync();
        assert_eq!(test.output("out"), "a\nb\n");
    }

    fn without_them_it_is_jinjas(plugin: Builder) {
        check(plugin, "a\n  {% if true %}\nb\n  {% endif %}\n", "a\n  \nb\n  \n");
    }
}
