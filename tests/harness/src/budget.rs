//! What callbacks may cost, and what they did.

use std::fmt::Write;

use crate::{Cost, Harness};

/// How far beyond its fuel a callback runs before it is ended: far enough for the report to say
/// how much it takes, and a loop without end ends in a second.
const FUEL_FACTOR: u64 = 10;

/// What a callback may use of a component's means; what is not named may be used without bound.
/// Costs are counted, not timed: the same steps cost the same each time, on every machine, until
/// plugin, compiler or SDK change. So a budget wants some room, a quarter say, and catches what
/// grows with the wrong thing.
///
/// A callback over its budget fails the step; its outputs are committed all the same. One that
/// takes ten times its fuel is ended there, as by a limit.
///
/// Natively nothing is counted, and every budget is kept: in a
/// [`test_both!`](crate::test_both) it is the component's half that holds it.
///
/// ```
/// # use haptic_harness::Budget;
/// let a_change = Budget::new().fuel(2_000_000).memory(4 << 20).copied(64 << 10);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "give it to a builder, or to the harness"]
pub struct Budget {
    fuel: Option<u64>,
    memory: Option<u64>,
    copied: Option<u64>,
    host_calls: Option<u64>,
}

impl Budget {
    /// Without bounds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fuel: about one for each WebAssembly instruction. Only a plugin that was
    /// [loaded](crate::Builder::load) with [`Builder::count_fuel`](crate::Builder::count_fuel), or
    /// with a budget of fuel, has it counted.
    pub fn fuel(mut self, fuel: u64) -> Self {
        self.fuel = Some(fuel);
        self
    }

    /// Bytes of the instance's linear memory, which never shrinks.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    /// Bytes of texts and contents that are copied between host and guest, both ways together:
    /// reads, writes, log lines.
    pub fn copied(mut self, bytes: u64) -> Self {
        self.copied = Some(bytes);
        self
    }

    /// Calls of the host's functions.
    pub fn host_calls(mut self, calls: u64) -> Self {
        self.host_calls = Some(calls);
        self
    }

    pub(crate) fn has_fuel(&self) -> bool {
        self.fuel.is_some()
    }

    /// Where a callback ends, whatever it does.
    pub(crate) fn fuel_limit(&self) -> u64 {
        self.fuel
            .map_or(u64::MAX, |fuel| fuel.saturating_mul(FUEL_FACTOR))
    }

    /// What was used beyond it, in words: `fuel 7000 of 5000, host calls 3 of 2`.
    pub(crate) fn exceeded(&self, cost: &Cost) -> Option<String> {
        let used = [
            ("fuel", cost.fuel.unwrap_or(0), self.fuel),
            ("bytes of memory", cost.memory, self.memory),
            (
                "bytes copied",
                cost.copied_in.saturating_add(cost.copied_out),
                self.copied,
            ),
            ("host calls", cost.host_calls, self.host_calls),
        ];
        let mut text = String::new();
        for (what, used, allowed) in used {
            if let Some(allowed) = allowed.filter(|allowed| used > *allowed) {
                let comma = if text.is_empty() { "" } else { ", " };
                _ = write!(text, "{comma}{used} {what} of {allowed}");
            }
        }
        (!text.is_empty()).then_some(text)
    }
}

/// Adds a callback to the costs of its step.
pub(crate) fn add(step: &mut Option<Cost>, cost: Cost) {
    let Cost {
        fuel,
        memory,
        copied_in,
        copied_out,
        host_calls,
        slept,
    } = step.unwrap_or_default();
    *step = Some(Cost {
        fuel: cost.fuel.map(|more| more.saturating_add(fuel.unwrap_or(0))),
        memory: memory.max(cost.memory),
        copied_in: copied_in + cost.copied_in,
        copied_out: copied_out + cost.copied_out,
        host_calls: host_calls + cost.host_calls,
        slept: slept + cost.slept,
    });
}

impl Harness {
    /// From now on each callback is to keep this budget, and none from before. For a plugin that
    /// reads everything once and then what changed: set it after [`sync`](Harness::sync).
    ///
    /// # Panics
    /// When it is about fuel and that is not counted: see
    /// [`Builder::count_fuel`](crate::Builder::count_fuel).
    #[track_caller]
    pub fn budget(&mut self, budget: Budget) -> &mut Self {
        assert!(
            !budget.has_fuel() || self.counts_fuel(),
            "the fuel of this plugin is not counted: load it with `count_fuel()`"
        );
        self.set_budget(budget);
        self
    }

    /// What the last callback cost, failed or not. `None`: none has run, or natively, where
    /// nothing is counted. Those of others are in [`callbacks`](Harness::callbacks).
    #[must_use]
    pub fn cost(&self) -> Option<Cost> {
        self.costs().last
    }

    /// What the callbacks of the last step cost together; of memory, the most. `None`: it had
    /// none, or natively.
    #[must_use]
    pub fn step_cost(&self) -> Option<Cost> {
        self.costs().step
    }

    /// Asserts that the callbacks of the last step kept this budget together. Always so natively,
    /// and for a step without callbacks.
    ///
    /// # Panics
    /// When they did not, and as [`budget`](Harness::budget).
    #[track_caller]
    pub fn assert_within(&self, budget: Budget) {
        assert!(
            !budget.has_fuel() || self.counts_fuel(),
            "the fuel of this plugin is not counted: load it with `count_fuel()`"
        );
        if let Some(exceeded) = self.step_cost().and_then(|cost| budget.exceeded(&cost)) {
            panic!("the step was over its budget: {exceeded}");
        }
    }
}

/// What is known of costs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Costs {
    pub(crate) last: Option<Cost>,
    pub(crate) step: Option<Cost>,
}
