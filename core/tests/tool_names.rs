//! The name of a function with `#[tool]` can still be used for variables.
#![cfg(all(feature = "macros", feature = "alloc", feature = "serde"))]
#![allow(
    clippy::unwrap_used,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "tests"
)]

use toolrunner_core::__private::check_tools;
use toolrunner_core::tool;
use toolrunner_core::tool::Toolbox;

/// What time it is.
#[tool]
fn now() -> u32 {
    12
}

/// How many are in stock.
#[tool]
fn stock(article: u32) -> u32 {
    article
}

/// An argument that has the name of another tool, and one that has the name of this tool.
#[tool]
fn order(stock: u32, order: u32) -> u32 {
    let now = 1;
    stock + order + now
}

struct Shelf {
    stock: u32,
}

/// Every place where a name can be bound.
fn bindings(now: u32) -> u32 {
    let stock = now;
    let closure = |order: u32| order + 1;
    let mut sum = closure(stock);
    for now in 0..3 {
        sum += now;
    }
    let Shelf { stock } = Shelf { stock };
    if let Some(order) = Some(stock) {
        sum += order;
    }
    match sum {
        now if now > 1000 => now,
        stock => stock + 1,
    }
}

#[test]
fn variables_arguments_and_patterns_may_have_a_tools_name() {
    let now = bindings(5);
    assert_eq!(now, 15);
    let order = |stock| stock + now;
    assert_eq!(order(1), 16);
}

#[test]
fn the_name_stands_for_the_tool() {
    check_tools(&(now, (stock, order))).unwrap();
    // The name of a tool and the value that it creates are the same tool, and both can be in one
    // list.
    assert_eq!(now.definition(0).unwrap().json, now().definition(0).unwrap().json);
    assert!(now.definition(1).is_none());
    assert_eq!([stock(), stock()].count(), 2);
    assert_eq!((now, stock.by_ref()).definition(1).unwrap().name, "stock");
}

#[test]
fn the_function_itself_can_be_called() {
    assert_eq!(order().run(stock().run(3), now().run()), 16);
}
