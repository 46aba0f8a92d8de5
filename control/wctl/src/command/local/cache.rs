//! The cache of compiled modules that all local runs of a user share.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::failure::{Failure, Result};

/// Where compiled modules are kept: `$XDG_CACHE_HOME/weir` or `~/.cache/weir`.
pub(super) fn directory() -> Result<PathBuf> {
    let named = |variable: &str| std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = named("XDG_CACHE_HOME").or_else(|| named("HOME").map(|home| home.join(".cache")));
    let cache = cache.ok_or_else(|| Failure::usage("neither XDG_CACHE_HOME nor HOME is set, so there is no cache"))?;
    Ok(cache.join("weir"))
}

/// The key that seals compiled modules, drawn when it is first needed. Of several processes that draw one at a time, the
/// first decides.
pub(super) fn key(dir: &Path) -> io::Result<[u8; 32]> {
    let path = dir.join("key");
    if let Some(key) = read(&path)? {
        return Ok(key);
    }
    draw(&dir.join(format!("key-{}", std::process::id())), &path)
}

/// Draws a key and writes it to `path` by way of `own`, which nobody else writes; or reads the one that is there by then.
fn draw(own: &Path, path: &Path) -> io::Result<[u8; 32]> {
    let mut drawn = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut drawn)?;
    fs::write(own, drawn)?;
    // The name appears with the whole content, or was there already.
    let linked = fs::hard_link(own, path);
    fs::remove_file(own)?;
    match linked {
        Ok(()) => Ok(drawn),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let unusable = || io::Error::new(io::ErrorKind::InvalidData, "the file `key` is no key; remove it");
            read(path)?.ok_or_else(unusable)
        }
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> io::Result<Option<[u8; 32]>> {
    match fs::read(path) {
        Ok(found) => Ok(found.try_into().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, thread};

    use super::*;

    #[test]
    fn all_who_draw_at_once_get_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let keys: BTreeSet<[u8; 32]> = thread::scope(|scope| {
            let drawing: Vec<_> = (0..16)
                .map(|number| {
                    let own = dir.path().join(format!("own-{number}"));
                    let path = dir.path().join("key");
                    scope.spawn(move || draw(&own, &path).unwrap())
                })
                .collect();
            drawing.into_iter().map(|drawn| drawn.join().unwrap()).collect()
        });
        assert_eq!(keys.len(), 1);
        assert_eq!(key(dir.path()).unwrap(), *keys.first().unwrap());
    }

    #[test]
    fn what_is_no_key_is_said() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("key"), "short").unwrap();
        assert!(key(dir.path()).unwrap_err().to_string().contains("no key"));
    }
}
