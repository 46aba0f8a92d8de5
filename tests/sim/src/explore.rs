//! Running worlds from outside: a panic of a core is a broken property, not the end of the exploration.

use std::{
    cell::{Cell, RefCell},
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
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// Notes the time of the world that this thread runs: a world that panics can be asked for nothing.
pub(crate) fn note_time(now_ns: u64) {
    NOW.set(now_ns);
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
            at_ns: NOW.get(),
            message: PANIC.take().unwrap_or_default().replace('\n', " "),
        }),
        ..Summary::default()
    })
}
