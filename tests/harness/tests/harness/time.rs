//! Time and budgets of a plugin that runs natively.

use std::time::{Duration, SystemTime};

use haptic_guest::{Config, Error, Plugin, Watch, output};
use haptic_harness::{Budget, Harness};

use crate::{panic_of, pod};

/// Writes the date.
struct Stamp;

impl Plugin for Stamp {
    fn describe(_: &Config) -> Result<Vec<Watch>, Error> {
        Ok(vec![Watch::new("pods", "v1", "pods")])
    }

    fn new(_: &Config) -> Result<Self, Error> {
        Ok(Stamp)
    }

    fn render(&mut self) -> Result<(), Error> {
        let since = haptic_guest::time::now().duration_since(SystemTime::UNIX_EPOCH)?;
        Ok(output::write("stamp", &since.as_secs().to_string())?)
    }
}

#[test]
fn a_native_plugin_that_asks_the_sdk_sees_the_tests_date() {
    let date = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    let mut test = Harness::native::<Stamp>().starts_at(date).load().unwrap();
    test.sync();
    assert_eq!(test.output("stamp"), "1000");
    test.advance(Duration::from_secs(60)).apply(pod("a"));
    assert_eq!(test.output("stamp"), "1060");
    // Told half a second later, at the end of the interval.
    test.advance(Duration::from_millis(100)).apply(pod("b"));
    test.advance(Duration::from_secs(3_600));
    assert_eq!(test.output("stamp"), "1060");
    assert_eq!(test.date(), date + test.now());
    test.delete("v1", "Pod", "", "a");
    assert_eq!(test.output("stamp"), "4660");
}

#[test]
fn budgets_are_always_kept_natively() {
    let nothing = Budget::new().fuel(0).memory(0).copied(0).host_calls(0);
    let plugin = Harness::native::<Stamp>().budget(nothing);
    let mut test = plugin.load().unwrap();
    test.sync().assert_within(nothing);
    assert_eq!((test.cost(), test.step_cost()), (None, None));
    assert_eq!(test.callbacks()[0].cost, None);
}

#[test]
fn a_budget_of_fuel_that_nobody_counts_is_a_mistake() {
    let mut test = Harness::native::<Stamp>().load().unwrap();
    let text = panic_of(|| {
        test.budget(Budget::new().fuel(1));
    });
    assert_eq!(
        text,
        "the fuel of this plugin is not counted: load it with `count_fuel()`"
    );
}
