//! Incremental rendering held against full rendering: after any changes and failures the outputs
//! are those that a plugin renders which starts now.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde_json::Value;

use crate::{
    Harness,
    builder::Builder,
    golden::diff,
    objects::{Objects, text},
    report::{Callback, StepError},
};

/// A property test of a plugin that renders only what changed.
///
/// From a pool of objects, changes are drawn at random: objects come, go, lose and gain fields and
/// elements, take values from each other; callbacks trap, and outputs cannot be committed. Each
/// time when everything is told and quiet, the outputs are compared with those of a fresh plugin
/// that is given the same objects. Steps without which a difference stays are left out of the
/// report.
///
/// ```
/// # use haptic_guest::{Config, Error, Plugin, Store, Watch, output};
/// # struct Names;
/// # impl Plugin for Names {
/// #     fn describe(_: &Config) -> Result<Vec<Watch>, Error> { Ok(vec![Watch::new("pods", "v1", "pods")]) }
/// #     fn new(_: &Config) -> Result<Self, Error> { Ok(Names) }
/// #     fn render(&mut self) -> Result<(), Error> {
/// #         let names = Store::open("pods")?.select::<(String,)>(&["metadata.name"], &[])?;
/// #         Ok(output::write("names", &format!("{names:?}"))?)
/// #     }
/// # }
/// use haptic_harness::{Harness, Incremental};
///
/// // Or `|| Harness::wasm("target/wasm32-wasip2/release/names.wasm")`; and a folder of manifests.
/// Incremental::of(|| Harness::native::<Names>(), "
/// apiVersion: v1
/// kind: Pod
/// metadata: {name: web, labels: {app: web}}
/// ---
/// apiVersion: v1
/// kind: Pod
/// metadata: {name: db}
/// ").runs(3).check();
/// ```
#[must_use = "`check()` runs it"]
pub struct Incremental<'m> {
    make: Box<dyn Fn() -> Builder + 'm>,
    pool: Objects,
    seed: u64,
    runs: u32,
    steps: usize,
    leftovers: bool,
}

/// Something that happens.
#[derive(Clone)]
enum Step {
    Apply(Value),
    Delete([String; 4]),
    Trap,
    FailCommit,
    Wait(Duration),
    /// Everything is told, and the outputs are compared.
    Check,
}

/// Callbacks that fail so often in a row at one moment of quiet fail for ever.
const PATIENCE: usize = 20;

/// Runs to find steps that can be left out: enough for a hundred steps, and seconds at most.
const SHRINKS: usize = 400;

impl<'m> Incremental<'m> {
    /// The plugin, made anew for each run and for each comparison, and the objects that changes
    /// are drawn from: those of a folder of manifests, say.
    pub fn of(make: impl Fn() -> Builder + 'm, pool: impl Into<Objects>) -> Self {
        Self {
            make: Box::new(make),
            pool: pool.into(),
            seed: 1,
            runs: 10,
            steps: 60,
            leftovers: false,
        }
    }

    /// The seed of the first run; the others have those after it. Default: 1. A report names its
    /// own.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How many runs. Default: 10.
    pub fn runs(mut self, runs: u32) -> Self {
        self.runs = runs;
        self
    }

    /// How many steps a run has. Default: 60.
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Outputs that a fresh plugin would not write may be there: of a plugin that writes a file
    /// for each object, which stays when the object goes.
    pub fn allow_leftovers(mut self) -> Self {
        self.leftovers = true;
        self
    }

    /// Runs them.
    ///
    /// # Panics
    /// At the first difference, with the steps that lead to it.
    #[track_caller]
    pub fn check(self) {
        if let Err(report) = self.find() {
            panic!("{report}");
        }
    }

    fn find(self) -> Result<(), String> {
        let pool = self
            .pool
            .clone()
            .read()
            .map_err(|error| error.to_string())?;
        let pool: Vec<Value> = pool.into_iter().map(|placed| placed.value).collect();
        if pool.is_empty() {
            return Err("there are no objects to draw changes from".to_owned());
        }
        for run in 0..self.runs {
            let seed = self.seed.wrapping_add(run.into());
            let steps = draw(&pool, seed, self.steps);
            let Err(first) = self.run(&steps) else {
                continue;
            };
            let (steps, difference) = self.shrink(steps, first);
            let steps: Vec<_> = steps.iter().map(|step| format!("\n  {step}")).collect();
            return Err(format!(
                "something is wrong with the plugin (seed {seed}), after{}\n{difference}",
                steps.concat()
            ));
        }
        Ok(())
    }

    /// Leaves out steps as long as there is a difference.
    fn shrink(&self, mut steps: Vec<Step>, mut difference: String) -> (Vec<Step>, String) {
        let mut left = SHRINKS;
        let mut size = steps.len() / 2;
        let mut before = usize::MAX;
        while size > 0 {
            let mut at = 0;
            while at < steps.len() && left > 0 {
                left -= 1;
                let mut fewer = steps.clone();
                fewer.drain(at..(at + size).min(steps.len()));
                match self.run(&fewer) {
                    Err(found) => (steps, difference) = (fewer, found),
                    Ok(()) => at += size,
                }
            }
            // What could not be left out may be, once something else is.
            size = match size {
                1 if steps.len() < before => 1,
                size => size / 2,
            };
            before = steps.len();
        }
        (steps, difference)
    }

    fn run(&self, steps: &[Step]) -> Result<(), String> {
        let load = || {
            (self.make)()
                .ignore_unwatched()
                .load()
                .map_err(|error| error.to_string())
        };
        let mut test = load()?;
        tolerate(test.try_sync())?;
        for step in steps.iter().chain([&Step::Check]) {
            match step {
                Step::Apply(object) => tolerate(test.try_apply(object))?,
                Step::Delete([api_version, kind, namespace, name]) => {
                    // Without the step that made it there is nothing to delete.
                    match test.try_delete(api_version, kind, namespace, name) {
                        Err(StepError::Objects(_)) => {}
                        result => tolerate(result)?,
                    }
                }
                Step::Trap => _ = test.trap_next(),
                Step::FailCommit => _ = test.fail_commit("the test asked for it"),
                Step::Wait(time) => tolerate(test.try_advance(*time))?,
                Step::Check => self.compare(&mut test, &load)?,
            }
        }
        Ok(())
    }

    fn compare(
        &self,
        test: &mut Harness,
        load: &dyn Fn() -> Result<Harness, String>,
    ) -> Result<(), String> {
        test.forget_faults();
        let mut failed = None;
        for _ in 0..PATIENCE {
            failed = test.try_settle().err();
            if failed.is_none() {
                break;
            }
        }
        let mut fresh = load()?;
        for object in test.objects() {
            fresh.try_apply(object).map_err(|error| error.to_string())?;
        }
        if fresh.try_sync().is_err() {
            // Of these objects it renders nothing, from the start or step by step.
            return Ok(());
        }
        if let Some(failed) = failed {
            return Err(format!(
                "a fresh plugin renders these objects, and this one fails for ever: {failed}"
            ));
        }
        tolerate(fresh.try_settle())?;
        let mut difference = String::new();
        for (name, content) in fresh.outputs() {
            match test.outputs().get(name) {
                Some(own) if own == content => {}
                Some(own) => difference += &diff(name, content, own),
                None => difference += &format!("the output {name} is missing\n"),
            }
        }
        if !self.leftovers {
            let left = test
                .outputs()
                .keys()
                .filter(|name| !fresh.outputs().contains_key(*name));
            difference.extend(left.map(|name| {
                format!("the output {name} is left over (allow_leftovers() lets it pass)\n")
            }));
        }
        match difference.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "what it renders step by step is not what it renders from the same objects at once; from those at once (-) to those step by step (+):\n{difference}"
            )),
        }
    }
}

/// Callbacks may fail on the way, but not be over their budget; that objects are not taken is a
/// mistake of the test.
fn tolerate(result: Result<(), StepError>) -> Result<(), String> {
    match result {
        Ok(()) => Ok(()),
        Err(StepError::Callbacks(failures)) => {
            let over = |callback: &&Callback| callback.over_budget.is_some();
            match failures.callbacks.iter().find(over) {
                Some(callback) => Err(callback.to_string()),
                None => Ok(()),
            }
        }
        Err(StepError::Objects(error)) => Err(error.to_string()),
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply(object) => write!(f, "apply {object}"),
            Self::Delete([_, kind, namespace, name]) => {
                write!(f, "delete {kind} {namespace}/{name}")
            }
            Self::Trap => f.write_str("the next callback traps"),
            Self::FailCommit => f.write_str("the next commit fails"),
            Self::Wait(time) => write!(f, "wait {time:?}"),
            Self::Check => f.write_str("settle, and compare"),
        }
    }
}

fn draw(pool: &[Value], seed: u64, count: usize) -> Vec<Step> {
    let mut random = Random(seed);
    let mut known: BTreeMap<[String; 4], Value> = BTreeMap::new();
    let mut steps = Vec::with_capacity(count);
    while steps.len() < count {
        let step = match random.below(20) {
            0..=4 => Step::Apply(random.of(pool).clone()),
            5..=10 => {
                let existing: Vec<&Value> = known.values().collect();
                let object = match existing.is_empty() {
                    true => random.of(pool).clone(),
                    false => (*random.of(&existing)).clone(),
                };
                Step::Apply(mutated(object, pool, &mut random))
            }
            11..=13 => {
                let keys: Vec<_> = known.keys().cloned().collect();
                if keys.is_empty() {
                    continue;
                }
                Step::Delete(random.of(&keys).clone())
            }
            14 => Step::Trap,
            15 => Step::FailCommit,
            16 => Step::Wait(Duration::from_millis(
                [10, 400, 600, 5_000][random.below(4)],
            )),
            _ => Step::Check,
        };
        match &step {
            Step::Apply(object) => _ = known.insert(identity(object), object.clone()),
            Step::Delete(key) => _ = known.remove(key),
            Step::Trap | Step::FailCommit | Step::Wait(_) | Step::Check => {}
        }
        steps.push(step);
    }
    steps
}

fn identity(object: &Value) -> [String; 4] {
    [
        &["apiVersion"][..],
        &["kind"],
        &["metadata", "namespace"],
        &["metadata", "name"],
    ]
    .map(|path| text(object, path).to_owned())
}

/// One place of the object changed: gone, as it is in another object of its kind, or, of a list, in
/// another order or with one element less or twice.
fn mutated(mut object: Value, pool: &[Value], random: &mut Random) -> Value {
    let mut places = Vec::new();
    pointers(&object, String::new(), &mut places);
    places.retain(|place| {
        // Without these it would be another object, or none.
        ![
            "",
            "/apiVersion",
            "/kind",
            "/metadata",
            "/metadata/name",
            "/metadata/namespace",
        ]
        .contains(&place.as_str())
    });
    if places.is_empty() {
        return object;
    }
    let place = random.of(&places).clone();
    match random.below(4) {
        0 => remove(&mut object, &place),
        1 => {
            if let Some(Value::Array(elements)) = object.pointer_mut(&place)
                && !elements.is_empty()
            {
                let at = random.below(elements.len());
                match random.below(3) {
                    0 => _ = elements.remove(at),
                    1 => elements.push(elements[at].clone()),
                    _ => elements.rotate_left(at),
                }
            }
        }
        _ => {
            let kind = text(&object, &["kind"]).to_owned();
            let others: Vec<&Value> = pool
                .iter()
                .filter(|other| text(other, &["kind"]) == kind)
                .filter_map(|other| other.pointer(&place))
                .collect();
            if let (false, Some(value)) = (others.is_empty(), object.pointer_mut(&place)) {
                *value = (*random.of(&others)).clone();
            }
        }
    }
    object
}

/// JSON pointers of everything in a value.
fn pointers(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(member, format!("{at}/{name}"), found);
            }
        }
        Value::Array(elements) => {
            for (i, element) in elements.iter().enumerate() {
                pointers(element, format!("{at}/{i}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    found.push(at);
}

fn remove(object: &mut Value, place: &str) {
    let Some((parent, last)) = place.rsplit_once('/') else {
        return;
    };
    match object.pointer_mut(parent) {
        Some(Value::Object(members)) => {
            members.remove(&last.replace("~1", "/").replace("~0", "~"));
        }
        Some(Value::Array(elements)) => {
            if let Ok(at) = last.parse::<usize>()
                && at < elements.len()
            {
                elements.remove(at);
            }
        }
        _ => {}
    }
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// At least 0 and less than `n`, which is not 0.
    fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % n).unwrap_or(0)
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}
