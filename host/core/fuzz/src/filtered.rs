//! Owns what `ignore` and `keep` mean, said with a tree. The unit tests of
//! `haptic_core::decode` use it too.

use super::Segment;
use serde_json::Value;

/// What is stored of a value with these `keep` (`None`: no such list) and `ignore` paths;
/// `None` when nothing is.
pub(super) fn filtered(
    value: &Value,
    keep: Option<&[&[Segment]]>,
    ignore: &[&[Segment]],
) -> Option<Value> {
    if ignore.contains(&&[][..]) {
        return None;
    }
    let keep = keep.filter(|keep| !keep.contains(&&[][..]));
    let leads = |fits: fn(&Segment) -> bool| {
        keep.is_none_or(|keep| keep.iter().any(|path| path.first().is_some_and(fits)))
    };
    let below = |here: &dyn Fn(&Segment) -> bool, value: &Value| {
        let ignore = rest(ignore, here);
        match keep {
            None => filtered(value, None, &ignore),
            Some(keep) => {
                let keep = rest(keep, here);
                (!keep.is_empty())
                    .then(|| filtered(value, Some(&keep), &ignore))
                    .flatten()
            }
        }
    };
    match value {
        Value::Object(members) => leads(|s| !matches!(s, Segment::Index(_))).then(|| {
            let kept = members.iter().filter_map(|(name, value)| {
                let here = |s: &Segment| {
                    matches!(s, Segment::Wildcard) || *s == Segment::Name((&**name).into())
                };
                Some((name.clone(), below(&here, value)?))
            });
            Value::Object(kept.collect())
        }),
        Value::Array(elements) => leads(|s| !matches!(s, Segment::Name(_))).then(|| {
            let length = i64::try_from(elements.len()).expect("no more elements than bytes");
            let kept = (0_i64..).zip(elements).filter_map(|(index, value)| {
                let here = |s: &Segment| match s {
                    Segment::Index(wanted) => *wanted == index || *wanted == index - length,
                    Segment::Wildcard => true,
                    Segment::Name(_) => false,
                };
                below(&here, value)
            });
            Value::Array(kept.collect())
        }),
        scalar => keep.is_none().then(|| scalar.clone()),
    }
}

fn rest<'p>(paths: &[&'p [Segment]], here: &dyn Fn(&Segment) -> bool) -> Vec<&'p [Segment]> {
    let steps = paths.iter().filter_map(|path| path.split_first());
    steps
        .filter(|(first, _)| here(first))
        .map(|(_, rest)| rest)
        .collect()
}
