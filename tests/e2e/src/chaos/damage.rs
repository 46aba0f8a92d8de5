//! What a power cut or a bad disk does to the caches of an executor that is down.

use std::{fs, path::Path};

use anyhow::{Context, Result};

/// The directories below an executor's own from which a damaged file must be noticed, and made or fetched anew.
const CACHES: [&str; 2] = ["blobs", "compiled"];

/// Damages every file: one has a flipped bit, the next one a torn tail, and the next one is empty. Gives how many.
pub(super) fn damage_caches(data_dir: &Path) -> Result<usize> {
    let mut damaged = 0;
    for cache in CACHES {
        let Ok(entries) = fs::read_dir(data_dir.join(cache)) else { continue };
        for entry in entries {
            let path = entry?.path();
            let mut content = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let half = content.len() / 2;
            match (damaged % 3, content.get_mut(half)) {
                (0, Some(byte)) => *byte ^= 1,
                (1, _) => content.truncate(half),
                _ => content.clear(),
            }
            fs::write(&path, content).with_context(|| format!("damage {}", path.display()))?;
            damaged += 1;
        }
    }
    Ok(damaged)
}
