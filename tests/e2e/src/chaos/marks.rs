//! Marks: files that guests open and read while they run. The kernel tells who did what and when, also of a process that
//! was frozen or killed; guests cannot write, and the log of an attempt is lost with its executor.

use std::{
    collections::BTreeMap,
    fs::File,
    mem::MaybeUninit,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};

use super::history::{Deed, Step};
use crate::cluster::node_name;

/// A mark has a byte for each step of a task, of which none makes so many.
const MARK_LEN: u64 = 1 << 20;

/// The marks of all executors, each of which has its own ones.
#[derive(Debug)]
pub(super) struct Marks {
    dirs: Vec<PathBuf>,
    steps: Arc<Mutex<Vec<Step>>>,
}

impl Marks {
    /// Makes the directories, which the executors publish, and watches them from there on.
    pub(super) fn watch(dir: &Path, executors: usize) -> Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC).context("watch files")?;
        let (mut dirs, mut watches) = (Vec::new(), BTreeMap::new());
        for executor in 0..executors {
            let dir = dir.join(node_name(executor));
            std::fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
            let wanted = WatchFlags::OPEN | WatchFlags::ACCESS | WatchFlags::CLOSE;
            watches.insert(inotify::add_watch(&inotify, &dir, wanted).context("watch the marks")?, executor);
            dirs.push(dir);
        }
        let steps = Arc::<Mutex<Vec<Step>>>::default();
        let seen = Arc::clone(&steps);
        // It waits for the kernel for as long as the process lives.
        thread::spawn(move || {
            let mut buffer = vec![MaybeUninit::uninit(); 64 << 10];
            let mut events = inotify::Reader::new(inotify, &mut buffer);
            while let Ok(event) = events.next() {
                let deed = match event.events() {
                    ReadFlags::OPEN => Deed::Open,
                    ReadFlags::ACCESS => Deed::Read,
                    ReadFlags::CLOSE_NOWRITE => Deed::Close,
                    _ => continue,
                };
                let (Some(node), Some(name)) = (watches.get(&event.wd()), event.file_name()) else { continue };
                let mark = name.to_string_lossy().into_owned();
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                // One is enough for as long as nobody else does anything.
                let step = Step { node: *node, mark, deed };
                if deed != Deed::Read || seen.last() != Some(&step) {
                    seen.push(step);
                }
            }
        });
        Ok(Self { dirs, steps })
    }

    /// Makes a mark.
    pub(super) fn make(&self, mark: &str) -> Result<()> {
        for dir in &self.dirs {
            // Made elsewhere, so that the making of it is not seen.
            let elsewhere = dir.with_extension("new");
            let file = File::create(&elsewhere).and_then(|file| file.set_len(MARK_LEN));
            file.and_then(|()| std::fs::rename(&elsewhere, dir.join(mark))).with_context(|| format!("make {mark}"))?;
        }
        Ok(())
    }

    /// What was seen.
    pub(super) fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
