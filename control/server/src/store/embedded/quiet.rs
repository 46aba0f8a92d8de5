//! Panics that are expected and caught, and about which nothing is printed.

use std::{cell::Cell, panic, sync::Once};

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Makes this thread loud again, also when what it did panics.
struct Loud;

impl Drop for Loud {
    fn drop(&mut self) {
        QUIET.set(false);
    }
}

/// Does something whose panics the caller catches and tells. Those of other threads are printed meanwhile.
pub(super) fn while_running<T>(work: impl FnOnce() -> T) -> T {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(except_quiet(usual));
    });
    QUIET.set(true);
    let _loud = Loud;
    work()
}

type Hook = Box<dyn Fn(&panic::PanicHookInfo<'_>) + Sync + Send>;

/// A hook that leaves out the threads that are quiet.
fn except_quiet(usual: Hook) -> Hook {
    Box::new(move |info| {
        if !QUIET.get() {
            usual(info);
        }
    })
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex, PoisonError},
        thread,
    };

    use super::*;

    #[test]
    fn only_this_thread_is_quiet_and_only_meanwhile() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (words, before) = (Arc::clone(&heard), panic::take_hook());
        panic::set_hook(except_quiet(Box::new(move |info| match info.payload().downcast_ref::<&str>() {
            Some(text) if text.starts_with("a test: ") => {
                words.lock().unwrap_or_else(PoisonError::into_inner).push((*text).to_owned());
            }
            _ => before(info),
        })));
        let here = thread::spawn(|| {
            let caught = panic::catch_unwind(|| {
                while_running(|| {
                    thread::spawn(|| panic!("a test: elsewhere")).join().unwrap_err();
                    panic!("a test: quiet");
                })
            });
            assert!(caught.is_err());
            panic!("a test: afterwards");
        });
        assert!(here.join().is_err());
        assert_eq!(*heard.lock().unwrap(), ["a test: elsewhere", "a test: afterwards"]);
    }
}
