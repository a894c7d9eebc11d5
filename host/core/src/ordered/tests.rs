use std::{cell::Cell, collections::BTreeMap};

use proptest::prelude::*;

use super::{nodes::GROWTH, *};

/// A key in two parts, and a value.
type Element = (String, String, u8);

#[derive(Clone, Copy, Debug)]
struct Parts;

impl KeyOf<Element> for Parts {
    fn key<'a>(&self, element: &'a Element) -> Key<'a> {
        Key::new(element.0.as_bytes(), element.1.as_bytes())
    }
}

type Map = BTreeMap<(String, String), u8>;

fn new() -> Ordered<Element, Parts> {
    Ordered::new(Parts)
}

/// Keys as they are in clusters: long beginnings in common, numbers that differ. Some heads
/// have one key, some more than a leaf holds. A head ends with a byte that it does not hold
/// elsewhere, as index keys do.
fn key(number: u32) -> (String, String) {
    let size = [1, 7, 97][usize::try_from(number / 1_000 % 3).unwrap_or(0)];
    let group = number / size;
    (
        format!("team-{size:02}-{group:04}\u{1}"),
        format!("shop-frontend-{}", number % size),
    )
}

fn element(number: u32, value: u8) -> Element {
    let (head, tail) = key(number);
    (head, tail, value)
}

fn get(ordered: &Ordered<Element, Parts>, number: u32) -> Option<u8> {
    let (head, tail) = key(number);
    let key = Key::new(head.as_bytes(), tail.as_bytes());
    Some(ordered.get(key)?.2)
}

fn remove(ordered: &mut Ordered<Element, Parts>, number: u32) -> Option<u8> {
    let (head, tail) = key(number);
    let key = Key::new(head.as_bytes(), tail.as_bytes());
    Some(ordered.remove(key)?.2)
}

fn leaves<T, K>(ordered: &Ordered<T, K>) -> impl Iterator<Item = &Child<Leaf<T>>> {
    ordered.pages.iter().flat_map(|page| page.node.iter())
}

fn check_nodes(ordered: &Ordered<Element, Parts>) {
    let mut total = 0;
    for page in ordered.pages.iter() {
        let leaves = page.node.children();
        assert!((1..=PAGE).contains(&leaves.len()));
        assert!(leaves.iter().all(|leaf| (1..=LEAF).contains(&leaf.len)));
        assert!(leaves.iter().all(|leaf| leaf.len == leaf.node.len()));
        assert_eq!(page.len, page.node.len());
        let pairs = leaves.iter().zip(leaves.iter().skip(1));
        assert!(pairs.map(|(a, b)| a.len + b.len).all(|sum| sum > LEAF / 4));
        let buffers = leaves.iter().map(|leaf| leaf.node.buffer_len());
        assert!(buffers.max() <= Some(LEAF + GROWTH));
        total += page.len;
    }
    assert_eq!(total, ordered.len());
    let sizes: Vec<_> = ordered
        .pages
        .iter()
        .map(|page| page.node.children().len())
        .collect();
    assert!(
        sizes
            .windows(2)
            .all(|pair| pair.iter().sum::<usize>() > PAGE / 4),
        "{sizes:?}"
    );
}

fn check(ordered: &Ordered<Element, Parts>, model: &Map) {
    let elements = ordered
        .iter()
        .map(|(head, tail, value)| ((head, tail), value));
    assert!(
        elements.eq(model
            .iter()
            .map(|((head, tail), value)| ((head, tail), value)))
    );
    assert_eq!(ordered.len(), model.len());
    check_nodes(ordered);
}

fn check_reads(ordered: &Ordered<Element, Parts>, model: &Map, number: u32, cut: usize) {
    let (head, tail) = key(number);
    let under = ordered.under(head.as_bytes());
    assert_eq!(under.len(), under.clone().count());
    let expected = model.iter().filter(|((other, _), _)| *other == head);
    assert!(under.map(|e| e.2).eq(expected.map(|(_, value)| *value)));
    let whole = head.clone() + &tail;
    let whole = whole.get(..cut).unwrap_or(&whole);
    let begins = |(head, tail): &(String, String)| (head.clone() + tail).starts_with(whole);
    let found = ordered.starting_with(whole.as_bytes());
    assert_eq!(found.len(), found.clone().count());
    let expected = model.iter().filter(|(key, _)| begins(key));
    assert!(
        found
            .map(|element| element.2)
            .eq(expected.map(|(_, value)| *value))
    );
    let from = ordered.starting_at(Key::new(whole.as_bytes(), &[]));
    assert_eq!(from.len(), from.clone().count());
    let expected = model
        .iter()
        .filter(|((head, tail), _)| (head.clone() + tail).as_str() >= whole);
    assert!(
        from.map(|element| element.2)
            .eq(expected.map(|(_, value)| *value))
    );
    assert_eq!(get(ordered, number), model.get(&key(number)).copied());
}

/// Runs of neighbouring keys, put in or taken out one by one, so that nodes fill, split,
/// empty and join.
fn runs() -> impl Strategy<Value = Vec<(bool, u32, u32, u8)>> {
    let run = (
        prop::bool::weighted(0.6),
        0..9_000_u32,
        1..3_000_u32,
        any::<u8>(),
    );
    prop::collection::vec(run, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn it_follows_a_map_and_clones_never_see_later_writes(
        runs in runs(),
        backwards: bool,
        reads in prop::collection::vec((0..12_000_u32, 0..30_usize), 0..12),
    ) {
        let (mut ordered, mut model) = (new(), Map::new());
        let mut history = Vec::new();
        for (put, start, len, value) in runs {
            for step in 0..len {
                let number = start + if backwards { len - step } else { step };
                if put {
                    let replaced = ordered.insert(element(number, value)).map(|e| e.2);
                    prop_assert_eq!(replaced, model.insert(key(number), value));
                } else {
                    prop_assert_eq!(remove(&mut ordered, number), model.remove(&key(number)));
                }
                // Most writes find nodes that an older version shares.
                if step % 37 == 0 {
                    history.push((ordered.clone(), None));
                }
            }
            check(&ordered, &model);
            history.push((ordered.clone(), Some(model.clone())));
            history.retain(|(_, model)| model.is_some());
        }
        for (ordered, model) in &history {
            let model = model.as_ref().expect("those without one are gone");
            check(ordered, model);
            for (number, cut) in &reads {
                check_reads(ordered, model, *number, *cut);
            }
        }
    }

    #[test]
    fn built_at_once_it_is_the_same(count in 0..9_000_u32, more in prop::collection::vec(0..9_000_u32, 0..60)) {
        let elements = (0..count).map(|number| element(number, 0));
        let mut model: Map = elements.clone().map(|(head, tail, value)| ((head, tail), value)).collect();
        let sorted = model.iter().map(|((head, tail), value)| (head.clone(), tail.clone(), *value));
        let mut ordered = Ordered::from_sorted(Parts, sorted);
        check(&ordered, &model);
        for number in more {
            ordered.insert(element(number, 1));
            model.insert(key(number), 1);
            check_reads(&ordered, &model, number, 9);
        }
        check(&ordered, &model);
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        u32::try_from(self.0 >> 33).unwrap_or(0) % end
    }
}

#[test]
fn it_follows_a_map_through_many_writes_in_no_order() {
    const KEYS: u32 = 4_000;
    let (mut ordered, mut model) = (new(), Map::new());
    let mut snapshots: Vec<(Ordered<Element, Parts>, Map)> = Vec::new();
    let mut random = Random(0x5EED);
    for step in 0..300_000_u32 {
        // It grows, shrinks to little, and grows again.
        let puts = if step / 50_000 % 2 == 0 { 70 } else { 25 };
        let number = random.below(KEYS);
        if random.below(100) < puts {
            let value = u8::try_from(step % 251).unwrap_or(0);
            let replaced = ordered.insert(element(number, value)).map(|e| e.2);
            assert_eq!(replaced, model.insert(key(number), value));
        } else {
            assert_eq!(remove(&mut ordered, number), model.remove(&key(number)));
        }
        let other = random.below(KEYS);
        assert_eq!(get(&ordered, other), model.get(&key(other)).copied());
        if step % 9_973 == 0 {
            snapshots.push((ordered.clone(), model.clone()));
        }
    }
    for (ordered, model) in &snapshots {
        check(ordered, model);
        for number in (0..KEYS).step_by(331) {
            check_reads(ordered, model, number, 12);
        }
    }
}

#[test]
fn keys_of_one_hash_are_told_apart() {
    let tag = |name: &str| Key::new(b"n", name.as_bytes()).tag();
    let wanted = tag("");
    let names = (0..).map(|number: u32| number.to_string());
    let names: Vec<String> = names.filter(|name| tag(name) == wanted).take(150).collect();
    let mut ordered = new();
    for (value, name) in (0..).zip(&names) {
        ordered.insert(("n".to_owned(), name.clone(), value));
    }
    assert_eq!(ordered.len(), names.len());
    let find = |ordered: &Ordered<Element, Parts>, name: &str| {
        Some(ordered.get(Key::new(b"n", name.as_bytes()))?.2)
    };
    for (value, name) in (0..).zip(&names) {
        assert_eq!(find(&ordered, name), Some(value));
    }
    assert_eq!(find(&ordered, ""), None, "one that is not there");
    for name in names.iter().step_by(2) {
        ordered.remove(Key::new(b"n", name.as_bytes()));
    }
    let found = names.iter().map(|name| find(&ordered, name).is_some());
    assert!(found.eq((0..names.len()).map(|at| at % 2 == 1)));
}

/// Counts how many elements are looked at.
#[derive(Clone, Copy)]
struct Counted<'c>(&'c Cell<usize>);

impl KeyOf<(Vec<u8>, u32)> for Counted<'_> {
    fn key<'a>(&self, element: &'a (Vec<u8>, u32)) -> Key<'a> {
        self.0.set(self.0.get() + 1);
        Key::new(&element.0, &[])
    }
}

#[test]
fn i5_a_range_is_found_by_search_and_not_by_a_scan() {
    let looks = Cell::new(0);
    let elements = (0..100_000).map(|n| (format!("{:05}\0{n:06}", n / 10).into_bytes(), n));
    let ordered = Ordered::from_sorted(Counted(&looks), elements);
    looks.set(0);
    let found: Vec<u32> = ordered.starting_with(b"04321\0").map(|(_, n)| *n).collect();
    assert_eq!(found, Vec::from_iter(43_210..43_220));
    // Two binary searches among the 32 of a leaf, the second after two looks ahead.
    assert!(looks.get() <= 2 * 6 + 2, "{}", looks.get());
    looks.set(0);
    let key = b"04321\x00043217";
    assert_eq!(
        ordered.get(Key::new(key, &[])).map(|(_, n)| *n),
        Some(43_217)
    );
    assert!(looks.get() <= 2, "{}", looks.get());
}

#[test]
fn input_in_order_fills_its_nodes() {
    let mut ordered = new();
    let numbers = (0..20_000).map(|n| (format!("{n:05}"), String::new(), 0));
    numbers
        .clone()
        .for_each(|element| drop(ordered.insert(element)));
    let built = Ordered::from_sorted(Parts, numbers);
    for ordered in [&ordered, &built] {
        check_nodes(ordered);
        assert_eq!(leaves(ordered).count(), 20_000_usize.div_ceil(LEAF));
        let pages = 20_000_usize.div_ceil(LEAF * PAGE);
        assert_eq!(ordered.pages.children().len(), pages);
    }
}

#[test]
fn a_write_copies_one_leaf_of_a_clone() {
    let mut ordered = new();
    (0..10_000).for_each(|number| drop(ordered.insert(element(number, 0))));
    let copies = |a: &Ordered<Element, Parts>, b: &Ordered<Element, Parts>| {
        let pages = a.pages.iter().zip(b.pages.iter());
        let pages = pages
            .filter(|(a, b)| !Arc::ptr_eq(&a.node, &b.node))
            .count();
        let leaves = leaves(a).zip(leaves(b));
        let leaves = leaves
            .filter(|(a, b)| !Arc::ptr_eq(&a.node, &b.node))
            .count();
        (pages, leaves)
    };
    let clone = ordered.clone();
    ordered.insert(element(5_000, 1));
    assert_eq!(copies(&ordered, &clone), (1, 1));
    let clone = ordered.clone();
    remove(&mut ordered, 90_000);
    assert!(
        Arc::ptr_eq(&ordered.pages, &clone.pages),
        "what is not there costs no copy"
    );
}

#[test]
fn separators_keep_no_element_alive() {
    let shared = Arc::new(());
    #[derive(Clone, Copy)]
    struct Name;
    impl KeyOf<(String, Arc<()>)> for Name {
        fn key<'a>(&self, element: &'a (String, Arc<()>)) -> Key<'a> {
            Key::new(element.0.as_bytes(), &[])
        }
    }
    let elements = (0..5_000).map(|n| (format!("{n:04}"), Arc::clone(&shared)));
    let mut ordered = Ordered::from_sorted(Name, elements);
    for n in 0..5_000 {
        ordered.insert((format!("{n:04}"), Arc::new(())));
    }
    assert_eq!(Arc::strong_count(&shared), 1);
}
