//! Compiled modules on disk: named by content and engine, sealed with the node's key, bounded in size.

use std::{
    fs::{self, File},
    hash::{Hash, Hasher},
    io::{self, Read, Seek, SeekFrom, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use weir_wire::id::Digest;

use crate::lines::{self, Lines};

const BLOCK_BYTES: usize = 64;

/// The artefacts of one node.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    dir: PathBuf,
    key: [u8; 32],
    compatibility: [u8; 32],
    bytes_max: u64,
}

/// An artefact whose seal was checked. The open file is what was checked, whatever its name points to by then.
#[derive(Debug)]
pub(crate) struct Artefact {
    file: File,
    /// Its table of source lines, once somebody asked.
    lines: OnceLock<Option<Arc<Lines>>>,
}

impl Artefact {
    /// An artefact whose seal another process checked.
    pub(crate) const fn received(file: File) -> Self {
        Self { file, lines: OnceLock::new() }
    }

    /// The open file.
    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// A path that opens this very file for as long as `self` lives.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// Its table of source lines; one for all that load it.
    pub(crate) fn lines(&self) -> Option<Arc<Lines>> {
        let found = self.lines.get_or_init(|| match Lines::of(&self.file) {
            Ok(lines) => lines.map(Arc::new),
            Err(error) => {
                tracing::warn!(%error, "the source lines of a module cannot be read");
                None
            }
        });
        found.clone()
    }
}

/// An artefact that is being made; dropped, its file is removed unless it was kept.
#[derive(Debug)]
pub(crate) struct Draft {
    file: File,
    path: PathBuf,
}

impl Draft {
    /// The file, at the place up to which it is written.
    pub(crate) const fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Once it is kept there is no file of that name; one that stays is overwritten by the next draft.
        let _kept = fs::remove_file(&self.path);
    }
}

impl Cache {
    /// Opens a cache for the artefacts of `engine`.
    pub(crate) fn open(dir: PathBuf, key: [u8; 32], bytes_max: u64, engine: &Engine) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        // The hash covers the full version of wasmtime, which the check at loading does not.
        let mut hasher = ContentHasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.write(lines::MAGIC);
        Ok(Self { dir, key, compatibility: hasher.0.finalize().into(), bytes_max })
    }

    /// Finds the artefact of a module. One with a wrong seal is reported and counts as missing.
    pub(crate) fn find(&self, module: &Digest) -> io::Result<Option<Artefact>> {
        let (path, seal_path) = self.paths(module);
        let (mut file, seal) = match (File::open(&path), fs::read(&seal_path)) {
            (Ok(file), Ok(seal)) => (file, seal),
            (Err(error), _) | (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        if seal != self.seal(module, &mut file)? {
            tracing::warn!(module.digest = %module, "an artefact in the cache has a wrong seal and is not used");
            return Ok(None);
        }
        // The modification time is the time of last use, which is what eviction goes by.
        file.set_modified(SystemTime::now())?;
        Ok(Some(Artefact::received(file)))
    }

    /// Begins an artefact: an empty file that is no part of the cache yet.
    pub(crate) fn draft(&self, module: &Digest) -> io::Result<Draft> {
        let path = self.paths(module).0.with_extension("draft");
        // What a crash left there belongs to nobody.
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        Ok(Draft { file, path })
    }

    /// Seals an artefact that is complete, keeps it, and makes room for it.
    pub(crate) fn keep(&self, module: &Digest, draft: Draft) -> io::Result<()> {
        let (path, seal_path) = self.paths(module);
        let mut content = draft.file();
        content.seek(SeekFrom::Start(0))?;
        let seal = self.seal(module, &mut content)?;
        draft.file.sync_all()?;
        fs::rename(&draft.path, &path)?;
        write_whole(&seal_path, &seal)?;
        self.evict(&path)
    }

    fn paths(&self, module: &Digest) -> (PathBuf, PathBuf) {
        let mut name = Sha256::new();
        name.update(module.0);
        name.update(self.compatibility);
        let name = Digest(name.finalize().into()).to_hex();
        (self.dir.join(format!("{name}.cwasm")), self.dir.join(format!("{name}.seal")))
    }

    /// HMAC-SHA256 over the name of the artefact and its content.
    fn seal(&self, module: &Digest, content: &mut dyn Read) -> io::Result<[u8; 32]> {
        let pad = |byte: u8| {
            let mut block = [byte; BLOCK_BYTES];
            for (slot, key) in block.iter_mut().zip(self.key) {
                *slot ^= key;
            }
            block
        };
        let mut inner = Sha256::new();
        inner.update(pad(0x36));
        inner.update(module.0);
        inner.update(self.compatibility);
        io::copy(content, &mut inner)?;
        let mut outer = Sha256::new();
        outer.update(pad(0x5c));
        outer.update(inner.finalize());
        Ok(outer.finalize().into())
    }

    /// Removes the longest unused artefacts, but not `newest`, until the rest fits.
    fn evict(&self, newest: &Path) -> io::Result<()> {
        let mut artefacts = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "cwasm") {
                let metadata = fs::metadata(&path)?;
                artefacts.push((metadata.modified()?, metadata.len(), path));
            }
        }
        artefacts.sort();
        let mut bytes: u64 = artefacts.iter().map(|(_, len, _)| len).sum();
        for (_, len, path) in artefacts {
            if bytes <= self.bytes_max || path == newest {
                continue;
            }
            fs::remove_file(&path)?;
            match fs::remove_file(path.with_extension("seal")) {
                // A crash came between the two.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            bytes = bytes.saturating_sub(len);
        }
        Ok(())
    }
}

fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

struct ContentHasher(Sha256);

impl Hasher for ContentHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
