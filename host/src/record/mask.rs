//! What of a stream's objects goes into a recording: what its watches store, and what their
//! index keys and selectors are taken from. Exactly that, or more where it cannot be said with
//! paths that mean the same when they are applied once more.

use haptic_core::{
    decode::ProjectionSpec,
    path::{Path, Segment},
    spec::WatchPlan,
};

/// The projection whose bodies every one of `plans` can be decoded from as from the whole
/// object.
pub(super) fn mask(plans: &[&WatchPlan]) -> ProjectionSpec {
    let Some(first) = plans.first() else {
        return ProjectionSpec::default();
    };
    let looked_at: Vec<&Path> = plans.iter().flat_map(|plan| looked_at(plan)).collect();
    let ignored_by_all = first
        .ignore
        .iter()
        .filter(|path| plans.iter().all(|plan| plan.ignore.contains(path)));
    let kept: Vec<&Path> = plans
        .iter()
        .flat_map(|plan| &plan.keep)
        .chain(looked_at.iter().copied())
        .collect();
    let all_keep = plans.iter().all(|plan| !plan.keep.is_empty());
    ProjectionSpec {
        api_version: first.resource.api_version(),
        ignore: ignored_by_all
            .filter(|path| is_steady(path))
            .filter(|path| !looked_at.iter().any(|other| may_hold(path, other)))
            .cloned()
            .collect(),
        keep: match all_keep && kept.iter().all(|path| is_steady(path)) {
            true => kept.into_iter().cloned().collect(),
            false => Vec::new(),
        },
        ..ProjectionSpec::default()
    }
}

/// What index keys are taken from, and what the host selects by.
fn looked_at(plan: &WatchPlan) -> impl Iterator<Item = &Path> {
    let keys = plan.index_paths.iter().flat_map(|index| &index.paths);
    keys.chain(plan.host_fields.iter().map(|field| &field.path))
}

/// Whether the path means the same after elements of lists were left out: no positions, no
/// filters.
fn is_steady(path: &Path) -> bool {
    path.segments()
        .is_some_and(|steps| !steps.iter().any(|step| matches!(step, Segment::Index(_))))
}

/// Whether `outer` may match something that `inner` matches or goes through below it.
fn may_hold(outer: &Path, inner: &Path) -> bool {
    let (Some(outer), Some(inner)) = (outer.segments(), inner.segments()) else {
        return true;
    };
    outer.len() <= inner.len()
        && outer
            .iter()
            .zip(inner)
            .all(|(one, other)| may_meet(one, other))
}

fn may_meet(one: &Segment, other: &Segment) -> bool {
    match (one, other) {
        (Segment::Wildcard, _) | (_, Segment::Wildcard) => true,
        (Segment::Name(one), Segment::Name(other)) => one == other,
        // One from the front and one from the end may be the same.
        (Segment::Index(_), Segment::Index(_)) => true,
        (Segment::Name(_), Segment::Index(_)) | (Segment::Index(_), Segment::Name(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::sync::Arc;

    use haptic_core::{
        decode::{Decoder, Projection},
        spec::WatchSpec,
    };

    use super::*;

    #[derive(Default)]
    struct Watch<'a> {
        keep: &'a [&'a str],
        ignore: &'a [&'a str],
        index: &'a [&'a str],
        fields: Option<&'a str>,
    }

    fn plan(watch: &Watch<'_>) -> WatchPlan {
        let texts = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        let spec = WatchSpec {
            name: "w".to_owned(),
            api_version: "v1".to_owned(),
            resources: "pods".to_owned(),
            keep_fields: texts(watch.keep),
            ignore_fields: texts(watch.ignore),
            index_by: texts(watch.index),
            field_selector: watch.fields.map(str::to_owned),
            ..WatchSpec::default()
        };
        spec.plan().unwrap()
    }

    const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"1","labels":{"app":"web","tier":"x"},"managedFields":[{"m":1}]},"spec":{"nodeName":"node","containers":[{"name":"a","image":"i"},{"name":"b","image":"j"}]},"status":{"phase":"Running"}}"#;

    fn decoded(spec: ProjectionSpec, json: &str) -> haptic_core::Object {
        let mut decoder = Decoder::new(Arc::new(Projection::new(spec)));
        decoder.decode(json.as_bytes()).unwrap().object
    }

    /// What is recorded, and that each watch makes of it what it makes of the whole.
    fn check(watches: &[Watch<'_>], recorded: &str) {
        let plans: Vec<WatchPlan> = watches.iter().map(plan).collect();
        let plans: Vec<&WatchPlan> = plans.iter().collect();
        let masked = decoded(mask(&plans), POD);
        let body = masked.body().unwrap().as_str();
        assert_eq!(body, recorded);
        for plan in plans {
            let (from_mask, from_whole) = (
                decoded(plan.projection(), body),
                decoded(plan.projection(), POD),
            );
            assert!(from_mask.same_content(&from_whole), "{from_mask:?}");
        }
    }

    const HEAD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"1""#;

    #[test]
    fn only_what_watches_store_and_look_at_is_recorded() {
        check(
            &[Watch {
                keep: &["status"],
                index: &["metadata.labels.app"],
                fields: Some("spec.containers[*].image=i"),
                ..Watch::default()
            }],
            &format!(
                r#"{HEAD},"labels":{{"app":"web"}}}},"spec":{{"containers":[{{"image":"i"}},{{"image":"j"}}]}},"status":{{"phase":"Running"}}}}"#
            ),
        );
        check(
            &[Watch {
                ignore: &["metadata.managedFields", "metadata.labels", "spec"],
                index: &["metadata.labels.app"],
                ..Watch::default()
            }],
            &format!(
                r#"{HEAD},"labels":{{"app":"web","tier":"x"}}}},"status":{{"phase":"Running"}}}}"#
            ),
        );
    }

    #[test]
    fn what_one_of_several_watches_stores_is_recorded() {
        check(
            &[
                Watch {
                    keep: &["status"],
                    ..Watch::default()
                },
                Watch {
                    ignore: &["metadata.managedFields", "status"],
                    ..Watch::default()
                },
                Watch {
                    ignore: &["metadata.managedFields", "spec"],
                    ..Watch::default()
                },
            ],
            POD,
        );
        check(
            &[
                Watch {
                    ignore: &["metadata.managedFields", "metadata.labels", "status"],
                    ..Watch::default()
                },
                Watch {
                    ignore: &["spec", "metadata.managedFields", "metadata.labels"],
                    ..Watch::default()
                },
            ],
            &format!(
                r#"{HEAD}}},"spec":{{"nodeName":"node","containers":[{{"name":"a","image":"i"}},{{"name":"b","image":"j"}}]}},"status":{{"phase":"Running"}}}}"#
            ),
        );
    }

    #[test]
    fn where_positions_matter_the_object_is_recorded_whole() {
        for watch in [
            Watch {
                keep: &["spec.containers[1].image"],
                ..Watch::default()
            },
            Watch {
                ignore: &["spec.containers[0]"],
                ..Watch::default()
            },
            Watch {
                keep: &["status"],
                index: &["spec.containers[?@.name=='b'].image"],
                ..Watch::default()
            },
            Watch {
                ignore: &["spec.containers[*].image"],
                index: &["spec.containers[1].image"],
                ..Watch::default()
            },
        ] {
            check(&[watch], POD);
        }
    }
}
