//! Who waits for what a node sees of which task.

use std::collections::BTreeMap;

use tokio::sync::oneshot::Sender;
use weir_wire::inspect::{Inspected, Seen};

/// Most looks into tasks that are waited for at a time.
pub(crate) const INSPECTIONS_MAX: usize = 64;

/// Those who wait, by the token of the answer.
#[derive(Default)]
pub(crate) struct Inspections(BTreeMap<u64, Sender<Seen>>);

impl Inspections {
    /// Whether one more may wait; forgets those who have given up.
    pub(crate) fn has_room(&mut self) -> bool {
        self.0.retain(|_, waiting| !waiting.is_closed());
        self.0.len() < INSPECTIONS_MAX
    }

    pub(crate) fn add(&mut self, token: u64, waiting: Sender<Seen>) {
        self.0.insert(token, waiting);
    }

    /// Hands an answer over, if somebody waits for it. A profile that contradicts itself is none.
    pub(crate) fn answer(&mut self, inspected: Inspected) {
        let Some(waiting) = self.0.remove(&inspected.token) else { return };
        let seen = match inspected.seen {
            Seen::Profile(profile) if !profile.is_sound() => Seen::Nothing("its node sent no valid profile".to_owned()),
            seen @ (Seen::Moment(_) | Seen::Profile(_) | Seen::Nothing(_)) => seen,
        };
        // Whoever waited may have gone.
        drop(waiting.send(seen));
    }

    /// Forgets everybody; they notice.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use weir_wire::inspect::{Profile, ProfileStack};

    use super::*;

    #[test]
    fn answers_reach_those_who_wait_and_nobody_else() {
        let mut inspections = Inspections::default();
        let (waiting, mut seen) = oneshot::channel();
        inspections.add(7, waiting);
        inspections.answer(Inspected { token: 8, seen: Seen::Nothing("no".to_owned()) });
        assert!(seen.try_recv().is_err());
        let stacks = vec![ProfileStack { caller: 9, frame: 9 }];
        let profile = Profile { stacks, ..Profile::default() };
        inspections.answer(Inspected { token: 7, seen: Seen::Profile(Box::new(profile)) });
        assert!(matches!(seen.try_recv(), Ok(Seen::Nothing(why)) if why.contains("no valid profile")));
    }

    #[test]
    fn those_who_gave_up_make_room() {
        let mut inspections = Inspections::default();
        let kept: Vec<_> = (0..64)
            .map(|token| {
                let (waiting, seen) = oneshot::channel();
                inspections.add(token, waiting);
                seen
            })
            .collect();
        assert!(!inspections.has_room());
        drop(kept);
        assert!(inspections.has_room());
    }
}
