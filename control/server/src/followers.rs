//! Who wants to see the output of which running task.

use std::collections::BTreeMap;

use tokio::sync::mpsc::{Sender, error::TrySendError};
use weir_wire::{
    id::RunId,
    log::{Level, Stream},
    message::Output,
};

/// Most followers of all tasks together.
pub(crate) const FOLLOWERS_MAX: usize = 1024;

/// The followers by task.
#[derive(Default)]
pub(crate) struct Followers {
    tasks: BTreeMap<(RunId, u32), Vec<Follower>>,
    count: usize,
}

struct Follower {
    pieces: Sender<Output>,
    /// Pieces that were dropped since the last one that had room.
    dropped: u64,
}

impl Followers {
    /// Whether another follower may be added; forgets those who have left first, if that helps.
    pub(crate) fn has_room(&mut self) -> bool {
        if self.count >= FOLLOWERS_MAX {
            self.retain(|follower| !follower.pieces.is_closed());
        }
        self.count < FOLLOWERS_MAX
    }

    pub(crate) fn add(&mut self, run: RunId, index: u32, pieces: Sender<Output>) {
        let follower = Follower { pieces, dropped: 0 };
        self.tasks.entry((run, index)).or_default().push(follower);
        self.count += 1;
    }

    /// Hands a piece to all who follow its task, and says whether anybody still does.
    pub(crate) fn deliver(&mut self, output: &Output) -> bool {
        let task = (output.run, output.index);
        let Some(followers) = self.tasks.get_mut(&task) else { return false };
        let before = followers.len();
        followers.retain_mut(|follower| follower.offer(output));
        self.count -= before - followers.len();
        let followed = !followers.is_empty() && !output.last;
        if !followed && let Some(gone) = self.tasks.remove(&task) {
            self.count -= gone.len();
        }
        followed
    }

    /// Forgets everybody; their channels close.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn retain(&mut self, keep: impl Fn(&Follower) -> bool) {
        self.tasks.retain(|_, followers| {
            followers.retain(&keep);
            !followers.is_empty()
        });
        self.count = self.tasks.values().map(Vec::len).sum();
    }
}

impl Follower {
    /// Offers a piece; false when nobody reads any more.
    fn offer(&mut self, output: &Output) -> bool {
        if self.dropped > 0 {
            match self.pieces.try_send(notice(output, self.dropped)) {
                Ok(()) => self.dropped = 0,
                Err(TrySendError::Full(_)) => {}
                Err(TrySendError::Closed(_)) => return false,
            }
        }
        match self.pieces.try_send(output.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.dropped += 1;
                true
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

/// Says how many pieces are missing at this point.
fn notice(output: &Output, dropped: u64) -> Output {
    let text = format!("weir: {dropped} pieces of output are missing here: the reader was too slow\n");
    Output {
        run: output.run,
        index: output.index,
        stream: Stream::Log(Level::Warn),
        at_ms: output.at_ms,
        bytes: text.into_bytes().into(),
        last: false,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    fn piece(text: &str, last: bool) -> Output {
        Output { run: RunId(1), index: 2, stream: Stream::Stdout, at_ms: 0, bytes: text.as_bytes().into(), last }
    }

    #[test]
    fn a_slow_reader_is_told_what_it_missed() {
        let mut followers = Followers::default();
        let (tx, mut rx) = mpsc::channel(2);
        followers.add(RunId(1), 2, tx);
        for text in ["a", "b", "c", "d"] {
            assert!(followers.deliver(&piece(text, false)));
        }
        let text = |rx: &mut mpsc::Receiver<Output>| String::from_utf8(rx.try_recv().unwrap().bytes.into()).unwrap();
        assert_eq!((text(&mut rx), text(&mut rx)), ("a".to_owned(), "b".to_owned()));
        assert!(!followers.deliver(&piece("e", true)), "the last piece ends it");
        assert!(text(&mut rx).contains("2 pieces of output are missing"));
        assert_eq!(text(&mut rx), "e");
        assert_eq!(rx.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }

    #[test]
    fn readers_who_left_make_room() {
        let mut followers = Followers::default();
        for _ in 0..FOLLOWERS_MAX {
            assert!(followers.has_room());
            followers.add(RunId(1), 2, mpsc::channel(1).0);
        }
        assert!(followers.has_room());
        assert!(!followers.deliver(&piece("a", false)));
    }
}
