//! Owns what texts looked like so far: the objects of one store have few shapes, and a text of
//! a known one is compared with what stands between its values instead of being walked. Does not
//! decide what a path matches ([`crate::walk`]), which it saw in the first text of each shape.

use super::Match;
use crate::{
    json::{Scanner, unescape},
    path::{Path, Segment},
    walk::Found,
};

/// What all shapes together may take.
const MAX_BYTES: usize = 1 << 18;

/// What a value of a shape takes beside the text before it: the way to it, which is an allocation
/// of its own, and its place, in a list that doubles.
const PER_VALUE: usize = 2 * size_of::<Vec<Way>>() + size_of::<Way>() + 32;

/// Members and elements that are looked at to learn one shape, each counted once, and once more
/// for each path that may go on there. What takes more is not worth it.
const MAX_EFFORT: usize = 1 << 16;

/// Ways on from one place: so many texts are compared with, one after the other.
const MAX_WAYS: usize = 16;

/// Texts of new shapes, beyond those of known ones, after which shapes are no use.
const MAX_MISSES: usize = 32;

/// Shapes, as a tree of the texts between values: shapes that begin alike share their beginning.
#[derive(Debug)]
pub(super) struct Shapes {
    paths: Vec<Box<[Segment]>>,
    /// The ways on from each place behind a value; the first place is the beginning.
    places: Vec<Vec<Way>>,
    /// Of each shape what is matched in it, in document order.
    matches: Vec<Box<[Matched]>>,
    left: usize,
    hits: usize,
    misses: usize,
    /// Where the values of the text that is read end, after a 0.
    ends: Vec<usize>,
}

/// A text between two values, and what comes then.
#[derive(Debug)]
struct Way {
    between: Box<str>,
    to: To,
}

#[derive(Clone, Copy, Debug)]
enum To {
    /// A value, and this place behind it.
    Value { value: Value, place: usize },
    /// The end of a text of this shape.
    End(usize),
}

/// A value in which no path goes on.
#[derive(Clone, Copy, Debug)]
struct Value {
    /// Containers around it.
    depth: usize,
    /// A path would, were it an object or a list.
    is_plain: bool,
}

/// One match in all texts of a shape.
#[derive(Debug)]
struct Matched {
    path: usize,
    start: Position,
    end: Position,
}

/// So many bytes behind the end of a value; the values are counted from 1, and 0 is the beginning.
#[derive(Clone, Copy, Debug)]
struct Position {
    value: usize,
    bytes: usize,
}

impl Shapes {
    /// None yet; none ever of paths that need a tree.
    pub(super) fn new(paths: &[Path]) -> Option<Self> {
        let paths = paths.iter().map(|path| Some(path.segments()?.into()));
        Some(Self {
            paths: paths.collect::<Option<_>>()?,
            places: vec![Vec::new()],
            matches: Vec::new(),
            left: MAX_BYTES,
            hits: 0,
            misses: 0,
            ends: Vec::new(),
        })
    }

    /// Whether looking costs more than it saves.
    pub(super) fn are_no_use(&self) -> bool {
        self.misses > self.hits + MAX_MISSES
    }

    /// Tells what is matched in a text of a known shape; false for any other text.
    pub(super) fn read<'a>(&mut self, json: &'a str, mut each: impl FnMut(Match<'a>)) -> bool {
        let Some(matches) = self.shape(json).and_then(|shape| self.matches.get(shape)) else {
            self.misses += 1;
            return false;
        };
        self.hits += 1;
        let at = |position: Position| {
            let end = self.ends.get(position.value).copied();
            end.unwrap_or_default() + position.bytes
        };
        for matched in matches {
            let text = json.get(at(matched.start)..at(matched.end));
            each(Match {
                path: matched.path,
                json: text.unwrap_or_default(),
            });
        }
        true
    }

    /// The shape of a text, and in `ends` the ends of its values.
    fn shape(&mut self, json: &str) -> Option<usize> {
        self.ends.clear();
        self.ends.push(0);
        let mut ways = self.places.first()?;
        let mut rest = json;
        loop {
            let next = |way: &Way| Some((way.to, way.goes_on(rest)?));
            match ways.iter().find_map(next)? {
                (To::End(shape), _) => return Some(shape),
                (To::Value { value, place }, behind) => {
                    let mut scanner = Scanner::new(behind);
                    scanner.skip(value.depth).ok()?;
                    rest = behind.get(scanner.pos()..)?;
                    self.ends.push(json.len() - rest.len());
                    ways = self.places.get(place)?;
                }
            }
        }
    }

    /// Takes in the shape of a text in which `found` was matched.
    pub(super) fn learn(&mut self, json: &str, found: &[Found]) {
        // Most who read a single text read no other.
        if self.hits + self.misses < 2 || self.are_no_use() || self.left < PER_VALUE {
            return;
        }
        let paths: Vec<&[Segment]> = self.paths.iter().map(|path| &**path).collect();
        let mut outline = Outline::new(json);
        if outline.value(&paths, 0).is_none() {
            return;
        }
        let values = outline.values;
        let mut at = Place::default();
        let mut rest = values.as_slice();
        while let Some(((start, end, _), others)) = rest.split_first()
            && let Some(place) = self.known(at.number, json.get(at.pos..*start))
        {
            at = Place {
                number: place,
                pos: *end,
            };
            rest = others;
        }
        let bytes =
            json.len() - at.pos + (rest.len() + 1) * PER_VALUE + found.len() * size_of::<Matched>();
        let ways = self.places.get(at.number).map_or(0, Vec::len);
        let Some(left) = self.left.checked_sub(bytes).filter(|_| ways < MAX_WAYS) else {
            return;
        };
        self.left = left;
        for (start, end, value) in rest {
            let place = self.places.len();
            let value = *value;
            self.add(at, json.get(at.pos..*start), To::Value { value, place });
            self.places.push(Vec::new());
            at = Place {
                number: place,
                pos: *end,
            };
        }
        self.add(at, json.get(at.pos..), To::End(self.matches.len()));
        let position = |offset: usize| {
            let value = values.partition_point(|(_, end, _)| *end <= offset);
            let before = value.checked_sub(1).and_then(|last| values.get(last));
            Position {
                value,
                bytes: offset - before.map_or(0, |(_, end, _)| *end),
            }
        };
        let matches = found.iter().map(|found| Matched {
            path: found.target,
            start: position(found.start),
            end: position(found.end),
        });
        self.matches.push(matches.collect());
    }

    /// The place behind the value to which a known way leads.
    fn known(&self, place: usize, between: Option<&str>) -> Option<usize> {
        self.places.get(place)?.iter().find_map(|way| match way.to {
            To::Value { place, .. } if Some(&*way.between) == between => Some(place),
            To::Value { .. } | To::End(_) => None,
        })
    }

    fn add(&mut self, at: Place, between: Option<&str>, to: To) {
        if let Some(ways) = self.places.get_mut(at.number) {
            // Most places have a single one.
            ways.reserve_exact(1);
            ways.push(Way {
                between: between.unwrap_or_default().into(),
                to,
            });
        }
    }
}

/// A place, and where it is in the text that is learnt.
#[derive(Clone, Copy, Default)]
struct Place {
    number: usize,
    pos: usize,
}

impl Way {
    /// What follows in a text that goes on like this.
    ///
    /// At most one way from a place fits: where one ends before a value and another one goes
    /// on, that one goes on into an object or a list, and the first is for plain values.
    #[inline]
    fn goes_on<'a>(&self, rest: &'a str) -> Option<&'a str> {
        let behind = rest.strip_prefix(&*self.between)?;
        let fits = match self.to {
            To::End(_) => behind.is_empty(),
            To::Value { value, .. } => !(value.is_plain && behind.starts_with(['{', '['])),
        };
        fits.then_some(behind)
    }
}

/// The values of a text, with their starts and ends, in which none of the paths goes on.
struct Outline<'a> {
    scanner: Scanner<'a>,
    values: Vec<(usize, usize, Value)>,
    effort: usize,
}

impl<'a> Outline<'a> {
    fn new(json: &'a str) -> Self {
        let mut scanner = Scanner::new(json);
        scanner.space();
        Self {
            scanner,
            values: Vec::new(),
            effort: 0,
        }
    }

    /// Takes note of those at the cursor. Of each path only what is left of it is given. `None`
    /// when it is too much, or no JSON.
    fn value(&mut self, paths: &[&[Segment]], depth: usize) -> Option<()> {
        self.effort += 1 + paths.len();
        if self.effort > MAX_EFFORT {
            return None;
        }
        let goes_on = paths.iter().any(|path| !path.is_empty());
        let (is_object, close) = match self.scanner.peek() {
            Some(b'{') if goes_on => (true, b'}'),
            Some(b'[') if goes_on => (false, b']'),
            _ => {
                // More than are ever kept.
                if self.values.len() >= MAX_BYTES / PER_VALUE {
                    return None;
                }
                let start = self.scanner.pos();
                self.scanner.skip(depth).ok()?;
                let value = Value {
                    depth,
                    is_plain: goes_on,
                };
                self.values.push((start, self.scanner.pos(), value));
                return Some(());
            }
        };
        self.scanner.advance();
        self.scanner.space();
        if self.scanner.peek() == Some(close) {
            self.scanner.advance();
            return Some(());
        }
        loop {
            let mut name = None;
            if is_object {
                let span = self.scanner.string("a member name").ok()?;
                name = Some(unescape(self.scanner.slice(span.range)));
                self.scanner.space();
                self.scanner.expect(b':', "`:`").ok()?;
                self.scanner.space();
            }
            let below = paths.iter().filter_map(|path| {
                let (first, left) = path.split_first()?;
                let matches = match (first, &name) {
                    (Segment::Name(first), Some(name)) => **first == **name,
                    (Segment::Name(_), None) | (Segment::Index(_), Some(_)) => false,
                    // Which element an index means depends on how many there are.
                    (Segment::Wildcard, _) | (Segment::Index(_), None) => true,
                };
                matches.then_some(left)
            });
            self.value(&below.collect::<Vec<_>>(), depth + 1)?;
            self.scanner.space();
            if self.scanner.peek() != Some(b',') {
                return self.scanner.expect(close, "`,` or the end").ok();
            }
            self.scanner.advance();
            self.scanner.space();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a test that cannot go on says where by panicking"
    )]

    use super::super::Extractor;
    use super::*;
    use proptest::prelude::*;

    fn extractor(paths: &[&str]) -> Extractor {
        let paths: Vec<Path> = paths.iter().map(|path| path.parse().unwrap()).collect();
        Extractor::new(&paths)
    }

    /// What it finds, and what is found by one that saw no other text.
    #[track_caller]
    fn check(extractor: &mut Extractor, paths: &[&str], json: &str) {
        let (mut found, mut expected) = (Vec::new(), Vec::new());
        let read = extractor.extract(json, &mut found);
        let fresh = self::extractor(paths).extract(json, &mut expected);
        assert_eq!((read, found), (fresh, expected), "{json}");
    }

    fn hits(extractor: &Extractor) -> usize {
        extractor.shapes.as_ref().unwrap().hits
    }

    #[test]
    fn texts_of_a_known_shape_are_not_walked() {
        let paths = ["spec.rules[*].host", "spec.class", "spec.rules", "labels"];
        let mut extractor = extractor(&paths);
        for (json, expected) in [
            (r#"{"spec":{"class":"a"}}"#, 0),
            (r#"{"spec":{"class":"ä"}}"#, 0),
            (r#"{"spec":{"class":{"x":[1,2]}}}"#, 1),
            (
                r#"{"spec":{"class":1e3,"rules":[{"host":"x"},{"port":1}]}}"#,
                1,
            ),
            (
                r#"{"spec":{"class":2,"rules":[{"host":null},{"port":[]}]}}"#,
                2,
            ),
            (
                r#"{"spec":{"class":2,"rules":[{"host":null}]},"labels":{"x":{}}}"#,
                2,
            ),
            (
                r#"{"spec":{"class":"\\\"","rules":[{"host":""}]},"labels":7}"#,
                3,
            ),
            (r#"{"spec":7}"#, 3),
            (r#"{"spec":"seven"}"#, 4),
            (r#"{"spec":[]}"#, 4),
            (r#"{"spec":[]}"#, 5),
            (r#"{"spec":{}}"#, 5),
            ("7", 5),
            ("8", 6),
            (r#"{"spec":{"class":1,"class":2}}"#, 6),
            (r#"{"spec":{"class":3,"class":4}}"#, 7),
        ] {
            check(&mut extractor, &paths, json);
            assert_eq!(hits(&extractor), expected, "{json}");
        }
    }

    #[test]
    fn a_text_that_is_no_json_is_refused_wherever_it_leaves_a_known_shape() {
        let paths = ["a.b", "c[-1]"];
        let mut extractor = extractor(&paths);
        let json = r#"{"a":{"b":"x"},"c":[1.5,"y"],"d":[{"e":true}]}"#;
        for _ in 0..3 {
            check(&mut extractor, &paths, json);
        }
        assert_eq!(hits(&extractor), 1);
        for end in 0..json.len() {
            let (before, behind) = json.split_at(end);
            check(&mut extractor, &paths, before);
            check(&mut extractor, &paths, &format!("{before}?{behind}"));
            check(&mut extractor, &paths, &format!("{before} {behind}"));
        }
        let deep = json.replace("true", &format!("{}{}", "[".repeat(125), "]".repeat(125)));
        check(&mut extractor, &paths, &deep);
    }

    #[test]
    fn texts_that_are_all_different_are_no_longer_compared() {
        let mut extractor = extractor(&["*.x"]);
        for number in 0..100 {
            check(
                &mut extractor,
                &["*.x"],
                &format!(r#"{{"{number}":{{"x":1}}}}"#),
            );
        }
        assert!(extractor.shapes.is_none());
    }

    #[test]
    fn what_is_kept_has_a_limit_p2() {
        let mut extractor = extractor(&["*.x"]);
        let name = "n".repeat(40_000);
        for number in 0..10 {
            let json = format!(r#"{{"{name}{number}":{{"x":1}}}}"#);
            for _ in 0..3 {
                check(&mut extractor, &["*.x"], &json);
            }
        }
        let kept = kept(&extractor);
        assert!((200_000..MAX_BYTES).contains(&kept), "{kept}");
        // Of many small values too.
        let mut extractor = self::extractor(&["*.x"]);
        for count in (100..2_000).step_by(100).chain([100_000]) {
            let json = format!("[{}1]", "1,".repeat(count));
            for _ in 0..3 {
                check(&mut extractor, &["*.x"], &json);
            }
        }
        let kept = self::kept(&extractor);
        assert!((100_000..MAX_BYTES).contains(&kept), "{kept}");
    }

    /// Bytes, without what allocations take for themselves.
    fn kept(extractor: &Extractor) -> usize {
        let shapes = extractor.shapes.as_ref().unwrap();
        let ways = shapes.places.iter().map(|ways| {
            let texts = ways.iter().map(|way| way.between.len());
            texts.sum::<usize>() + ways.capacity() * size_of::<Way>()
        });
        ways.sum::<usize>() + shapes.places.capacity() * size_of::<Vec<Way>>()
    }

    #[test]
    fn what_takes_much_to_learn_is_not_learnt_p1() {
        let paths: Vec<String> = (0..256).map(|field| format!("data[*].f{field}")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let mut extractor = extractor(&paths);
        let text = |count| format!(r#"{{"data":[{}1]}}"#, "1,".repeat(count));
        for (count, expected) in [(100, 1), (1_000, 0)] {
            let before = hits(&extractor);
            for _ in 0..4 {
                check(&mut extractor, &paths, &text(count));
            }
            assert_eq!(hits(&extractor) - before > 0, expected > 0, "{count}");
        }
        let mut outline = Outline::new("[1,1,1]");
        outline.effort = MAX_EFFORT;
        assert_eq!(outline.value(&[], 0), None);
    }

    fn text() -> impl Strategy<Value = String> {
        let leaf =
            prop::sample::select(vec!["1", "-2.5", "\"x\"", "\"\\\"{\"", "null", "{}", "[]"]);
        let leaf = leaf.prop_map(str::to_owned);
        leaf.prop_recursive(4, 24, 3, |inner| {
            let member = (
                prop::sample::select(vec!["a", "b", "\\u0061"]),
                inner.clone(),
            );
            let members = prop::collection::vec(member, 0..4).prop_map(|members| {
                let members = members
                    .iter()
                    .map(|(name, value)| format!("\"{name}\":{value}"));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            });
            let elements = prop::collection::vec(inner, 0..3)
                .prop_map(|elements| format!("[{}]", elements.join(",")));
            prop_oneof![members, elements]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn what_was_seen_before_changes_no_answer(
            paths in prop::sample::subsequence(
                vec!["$", "a", "a.b", "b.a", "*", "*.a", "a[*]", "a[0]", "a[-1].b", "b[*][*]", "*[*].a"], 0..5,
            ),
            texts in prop::collection::vec(text(), 1..12),
        ) {
            let mut extractor = extractor(&paths);
            for json in texts.iter().chain(&texts).chain(texts.iter().rev()) {
                check(&mut extractor, &paths, json);
            }
        }
    }
}
