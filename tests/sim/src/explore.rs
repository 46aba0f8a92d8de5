//! Running worlds from outside: a panic of a core is a broken property, not the end of the exploration.

use std::{
    cell::RefCell,
    io::Write,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use crate::{
    options::Options,
    property::{Property, Violation},
    summary::Summary,
    world::World,
};

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs one world to its end, and keeps what it says on the way.
#[must_use]
pub fn run(options: Options, sink: Option<Box<dyn Write>>) -> Summary {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        panic::set_hook(Box::new(|info| PANIC.set(Some(info.to_string()))));
    });
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| World::new(options, sink).run()));
    outcome.unwrap_or_else(|_| Summary {
        violation: Some(Violation {
            property: Property::Crash,
            at_ns: 0,
            message: PANIC.take().unwrap_or_default().replace('\n', " "),
        }),
        ..Summary::default()
    })
}
