//! Owns several paths merged at their common beginnings.

use crate::{json::head, path::Segment};

/// Several paths, merged at their common beginnings.
#[derive(Clone, Debug)]
pub(crate) struct Trie {
    /// The first is the root.
    nodes: Vec<Node>,
}

/// The position of a node in its trie.
pub(super) type NodeId = usize;

#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// Sorted.
    names: Vec<(Name, NodeId)>,
    /// Sorted; negative ones count from the end.
    indices: Vec<(i64, NodeId)>,
    pub(super) wildcard: Option<NodeId>,
    pub(super) traits: Traits,
    pub(super) targets: Vec<usize>,
}

/// A name with what tells it from nearly all others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    head: u64,
    text: Box<str>,
}

impl Name {
    fn new(text: &str) -> Self {
        Self {
            head: head(text),
            text: text.into(),
        }
    }

    /// Whether it is `name`, which has the same head.
    #[inline]
    fn is(&self, name: &[u8]) -> bool {
        self.text.len() == name.len() && (name.len() <= 8 || *self.text.as_bytes() == *name)
    }
}

/// What holds for one node of several that match a value: so much of them is looked at
/// for each member and each element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traits(u8);

impl Traits {
    /// Its value is not written.
    pub(super) const IGNORE: Self = Self(1);
    /// Its value is written.
    pub(super) const KEEP: Self = Self(1 << 1);
    /// A kept path goes on with a name or a wildcard.
    pub(super) const KEEPS_MEMBER: Self = Self(1 << 2);
    /// A kept path goes on with an index or a wildcard.
    pub(super) const KEEPS_ELEMENT: Self = Self(1 << 3);
    /// A path goes on with a name or a wildcard.
    pub(super) const BY_NAME: Self = Self(1 << 4);
    /// A path goes on with an index or a wildcard.
    pub(super) const BY_INDEX: Self = Self(1 << 5);
    /// Its value is reported.
    pub(super) const REPORTED: Self = Self(1 << 6);

    #[inline]
    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    #[inline]
    pub(super) fn have(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What a path in a trie is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Its values are reported under this number.
    Target(usize),
    /// Its values are not written.
    Ignore,
    /// Its values are written, when not all are.
    Keep,
}

impl Default for Trie {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }
}

impl Trie {
    pub(crate) fn add(&mut self, segments: &[Segment], mark: Mark) {
        let mut id = self.root();
        for segment in segments {
            let next = self.nodes.len();
            let node = &mut self.nodes[id];
            if !matches!(segment, Segment::Index(_)) {
                node.traits.add(Traits::BY_NAME);
                if mark == Mark::Keep {
                    node.traits.add(Traits::KEEPS_MEMBER);
                }
            }
            if !matches!(segment, Segment::Name(_)) {
                node.traits.add(Traits::BY_INDEX);
                if mark == Mark::Keep {
                    node.traits.add(Traits::KEEPS_ELEMENT);
                }
            }
            id = match segment {
                Segment::Name(name) => child(&mut node.names, &Name::new(name), next),
                Segment::Index(index) => child(&mut node.indices, index, next),
                Segment::Wildcard => *node.wildcard.get_or_insert(next),
            };
            if id == next {
                self.nodes.push(Node::default());
            }
        }
        let node = &mut self.nodes[id];
        match mark {
            Mark::Target(target) if node.targets.contains(&target) => {}
            Mark::Target(target) => {
                node.targets.push(target);
                node.traits.add(Traits::REPORTED);
            }
            Mark::Ignore => node.traits.add(Traits::IGNORE),
            Mark::Keep => node.traits.add(Traits::KEEP),
        }
    }

    pub(super) fn root(&self) -> NodeId {
        0
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Ids are made by `add` alone and nodes are never removed, so every id is in range.
    #[inline]
    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// Whether `target` is reported at `id` or below.
    pub(super) fn reports(&self, id: NodeId, target: usize) -> bool {
        let node = self.node(id);
        let below = |id: &NodeId| self.reports(*id, target);
        node.targets.contains(&target)
            || node.names.iter().map(|(_, id)| id).any(below)
            || node.indices.iter().map(|(_, id)| id).any(below)
            || node.wildcard.iter().any(below)
    }
}

/// The child under `key`, which becomes `next` when there is none.
fn child<K: Ord + Clone>(children: &mut Vec<(K, NodeId)>, key: &K, next: NodeId) -> NodeId {
    match children.binary_search_by(|(other, _)| other.cmp(key)) {
        Ok(at) => children[at].1,
        Err(at) => {
            children.insert(at, (key.clone(), next));
            next
        }
    }
}

impl Node {
    /// The child for the member `name`, of which `head` is the [`head`].
    #[inline(always)]
    pub(super) fn name(&self, head: u64, name: &[u8]) -> Option<NodeId> {
        /// Up to here comparing all beats a binary search.
        const FEW: usize = 12;
        if self.names.len() <= FEW {
            self.names
                .iter()
                .find(|(other, _)| other.head == head && other.is(name))
                .map(|(_, id)| *id)
        } else {
            let at = self
                .names
                .binary_search_by(|(other, _)| {
                    (other.head, other.text.as_bytes()).cmp(&(head, name))
                })
                .ok()?;
            self.names.get(at).map(|(_, id)| *id)
        }
    }

    pub(super) fn index(&self, index: i64) -> Option<NodeId> {
        let at = self
            .indices
            .binary_search_by_key(&index, |(other, _)| *other)
            .ok()?;
        self.indices.get(at).map(|(_, id)| *id)
    }

    pub(super) fn counts_from_the_end(&self) -> bool {
        self.indices.first().is_some_and(|(index, _)| *index < 0)
    }
}
