//! Budgets of callbacks: what is held against them, and that an incremental plugin keeps one
//! however much there is.

use std::time::Duration;

use haptic_harness::{Budget, Cost, Harness};
use haptic_tests::guest;

use crate::{change, configmap, synced};

/// An incremental plugin with this many objects in its store, told of them and within its budget
/// when one changes: what that one change costs.
fn one_of(objects: usize) -> (Harness, Cost) {
    let mut test = guest("incremental").count_fuel().load().unwrap();
    for i in 0..objects {
        test.given(configmap(&format!("m{i:05}"), "red"));
    }
    test.sync();
    test.budget(Budget::new().fuel(100_000).copied(1 << 10));
    test.apply(configmap("m00042", "blue"));
    test.advance(Duration::from_millis(500));
    let cost = test.cost().unwrap();
    (test, cost)
}

#[test]
fn what_a_change_costs_an_incremental_plugin_does_not_grow_with_the_store() {
    let (few, cost_of_few) = one_of(100);
    let (many, cost_of_many) = one_of(10_000);
    for (test, count) in [(few, "100\n"), (many, "10000\n")] {
        assert_eq!(test.output("count"), count);
        assert_eq!(test.output("colours/shop/m00042"), "blue");
    }
    let fuel = |cost: Cost| cost.fuel.unwrap();
    let (few, many) = (fuel(cost_of_few), fuel(cost_of_many));
    // A tree that is two levels deeper.
    assert!(
        many < few + few / 4,
        "{few} with a hundred, {many} with ten thousand"
    );
    assert_eq!(cost_of_many.host_calls, cost_of_few.host_calls);
    assert_eq!(cost_of_many.copied_out, cost_of_few.copied_out);
    // The changed object's resourceVersion, 10001 or 101, is copied too.
    let digits = "10001".len() - "101".len();
    assert_eq!(
        cost_of_many.copied_in,
        cost_of_few.copied_in + u64::try_from(digits).unwrap()
    );
}

#[test]
fn a_plugin_that_reads_everything_is_over_that_budget() {
    let mut test = guest("read-all").count_fuel().load().unwrap();
    for i in 0..100 {
        test.given(configmap(&format!("m{i:05}"), "red"));
    }
    test.sync();
    test.budget(Budget::new().fuel(100_000).copied(1 << 10));
    test.apply(configmap("m00042", "blue"));
    let error = test.try_advance(Duration::from_millis(500)).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("; it was over its budget: "), "{error}");
    assert!(error.contains(" fuel of 100000, "), "{error}");
    assert!(error.contains(" bytes copied of 1024"), "{error}");
}

/// A hundred objects and five changes, and what each callback cost.
fn costs(mode: &str) -> Vec<Cost> {
    let mut test = guest(mode).count_fuel().load().unwrap();
    for i in 0..100 {
        test.given(configmap(&format!("m{i:03}"), "red"));
    }
    test.sync();
    for i in 0..5 {
        test.apply(configmap(&format!("m{i:03}"), "blue"));
        test.advance(Duration::from_secs(1));
    }
    let costs = test.callbacks().iter().map(|callback| callback.cost);
    costs.collect::<Option<_>>().unwrap()
}

#[test]
fn the_same_steps_cost_the_same() {
    for mode in ["report", "read-all", "clocks"] {
        let first = costs(mode);
        assert!(
            first.iter().all(|cost| cost.fuel > Some(1_000)),
            "{first:?}"
        );
        for _ in 0..3 {
            assert_eq!(costs(mode), first, "{mode}");
        }
    }
}

#[test]
fn costs_are_those_of_what_passed() {
    let mut test = synced(guest("report"));
    change(&mut test, "blue").unwrap();
    let cost = test.cost().unwrap();
    assert_eq!(cost.fuel, None, "nobody asked for it");
    // It asks for the store's name, its revision and its changes, and writes a report.
    let (store, change) = ("configmaps".len(), "shopweb".len());
    let report = "configmaps +0 ~1 -0 initial=false\n~shop/web\n";
    assert_eq!(test.output("report"), report);
    let bytes = |len: usize| u64::try_from(len).unwrap();
    assert_eq!(cost.copied_in, bytes(store + change));
    assert_eq!(cost.copied_out, bytes("report".len() + report.len()));
    assert_eq!(cost.host_calls, 4);
    assert_eq!(cost.memory % (64 << 10), 0);
    assert!(cost.memory >= 1 << 20, "{cost:?}");
}

#[test]
fn a_callback_over_its_budget_fails_the_step_and_its_outputs_stay() {
    let over = |budget: Budget| {
        let mut test = synced(guest("report").count_fuel());
        test.budget(budget);
        let error = change(&mut test, "blue").unwrap_err().to_string();
        assert!(test.output("report").starts_with("configmaps +0 ~1 -0"));
        // It is not tried again, for it succeeded.
        test.settle();
        assert_eq!(test.callbacks().len(), 1);
        let line = error.lines().next().unwrap().to_owned();
        (line, test.cost().unwrap())
    };
    let begin = "+500ms configmaps on-change +0 ~1 -0: it was over its budget: ";
    let (line, cost) = over(Budget::new().host_calls(3));
    assert_eq!(line, format!("{begin}4 host calls of 3"));
    let fuel = cost.fuel.unwrap();
    let memory = cost.memory;
    let (line, _) = over(Budget::new().fuel(fuel - 1).memory(memory - 1));
    assert_eq!(
        line,
        format!(
            "{begin}{fuel} fuel of {}, {memory} bytes of memory of {}",
            fuel - 1,
            memory - 1
        )
    );
    let copied = cost.copied_in + cost.copied_out;
    let (line, _) = over(Budget::new().copied(copied - 1));
    assert_eq!(
        line,
        format!("{begin}{copied} bytes copied of {}", copied - 1)
    );

    let exact = Budget::new()
        .fuel(fuel)
        .memory(memory)
        .copied(copied)
        .host_calls(4);
    // A budget of fuel has it counted.
    let mut test = synced(guest("report").budget(Budget::new().fuel(u64::MAX)));
    test.budget(exact);
    change(&mut test, "blue").unwrap();
}

#[test]
fn a_loop_without_end_is_over_its_budget_of_fuel_after_ten_times_of_it() {
    let mut test = synced(guest("loop").count_fuel());
    test.budget(Budget::new().fuel(100_000));
    let error = change(&mut test, "blue").unwrap_err();
    let cost = test.cost().unwrap();
    assert_eq!(
        error.to_string().lines().next().unwrap(),
        format!(
            "+500ms configmaps on-change +0 ~1 -0: on-change failed: it used more than 1000000 of \
             fuel; it was over its budget: {} fuel of 100000",
            cost.fuel.unwrap()
        )
    );
    assert!(cost.fuel.unwrap() >= 1_000_000, "{cost:?}");
}
