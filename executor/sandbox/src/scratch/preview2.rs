//! The file system of preview 2 as it is, with the charge before what can take space.

use std::sync::Arc;

use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::{
    WasiView,
    filesystem::{Descriptor, WasiFilesystemView},
    p2::{
        DynInputStream, DynOutputStream, FsError, FsResult,
        bindings::filesystem::{
            preopens,
            types::{
                self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, DirectoryEntryStream,
                ErrorCode, HostDescriptor, HostDirectoryEntryStream, MetadataHashValue, NewTimestamp, OpenFlags,
                PathFlags,
            },
        },
    },
};

use super::{GUEST_PATH, Scratch, note_open_files, stream::FileStream};
use crate::{background, state::State};

/// Puts the charge before the calls of a linker; guests without a scratch directory notice nothing.
pub(crate) fn add_to_components(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    types::add_to_linker::<State, Files>(linker, |state| View(state))?;
    preopens::add_to_linker::<State, Files>(linker, |state| View(state))?;
    linker.allow_shadowing(false);
    Ok(())
}

struct Files;

impl HasData for Files {
    type Data<'a> = View<'a>;
}

struct View<'a>(&'a mut State);

impl View<'_> {
    /// The scratch directory, if the handle is in it.
    fn inside(&self, fd: &Resource<Descriptor>) -> Option<&Scratch> {
        self.0.scratch.as_ref().filter(|scratch| scratch.is_inside(fd.rep()))
    }

    fn enter(&mut self, fd: &Resource<Descriptor>) {
        if let Some(scratch) = &mut self.0.scratch {
            scratch.enter(fd.rep());
        }
    }

    fn charge_write(&self, fd: &Resource<Descriptor>, len: u64) -> FsResult<()> {
        room(self.inside(fd).is_none_or(|scratch| scratch.ledger.write(len)))
    }

    fn charge_entry(&self, dir: &Resource<Descriptor>) -> FsResult<()> {
        room(self.inside(dir).is_none_or(|scratch| scratch.ledger.create()))
    }

    /// Nothing gets into the scratch directory, or out of it, without being written.
    fn between(&self, from: &Resource<Descriptor>, to: &Resource<Descriptor>) -> FsResult<()> {
        if self.inside(from).is_some() != self.inside(to).is_some() {
            return Err(ErrorCode::CrossDevice.into());
        }
        self.charge_entry(to)
    }

    /// Whether a directory has an entry of that name.
    async fn exists(&mut self, dir: &Resource<Descriptor>, path: &str) -> bool {
        let dir = Resource::new_borrow(dir.rep());
        self.0.filesystem().stat_at(dir, PathFlags::empty(), path.to_owned()).await.is_ok()
    }

    /// Whether an entry is a file or a directory, or what opening it will say. Anything else, a named pipe above all, could
    /// keep the thread that opens it for ever.
    async fn opens_at_once(&mut self, dir: &Resource<Descriptor>, lookup: PathFlags, path: &str) -> bool {
        let dir = Resource::new_borrow(dir.rep());
        let stat = self.0.filesystem().stat_at(dir, lookup, path.to_owned()).await;
        stat.map_or(true, |stat| {
            matches!(stat.type_, DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink)
        })
    }

    /// Has a stream tell what it does.
    fn watch_output(&mut self, stream: Resource<DynOutputStream>) -> FsResult<Resource<DynOutputStream>> {
        let under_way = Arc::clone(&self.0.probe.under_way);
        let table = self.0.ctx().table;
        let stream = background::output(table.delete(stream)?, under_way);
        Ok(table.push(stream)?)
    }

    /// A stream that is charged; nothing outside of the scratch directory.
    fn stream(&mut self, fd: &Resource<Descriptor>, at: Option<u64>) -> FsResult<Option<Resource<DynOutputStream>>> {
        let Some(ledger) = self.inside(fd).map(|scratch| Arc::clone(&scratch.ledger)) else { return Ok(None) };
        let table = self.0.ctx().table;
        let file = match table.get(fd)? {
            Descriptor::File(file) => Arc::clone(&file.file),
            Descriptor::Dir(_) => return Err(ErrorCode::IsDirectory.into()),
        };
        let stream: DynOutputStream = Box::new(FileStream::new(file, at, ledger));
        Ok(Some(table.push(stream)?))
    }
}

fn room(there_is: bool) -> FsResult<()> {
    if there_is { Ok(()) } else { Err(ErrorCode::InsufficientSpace.into()) }
}

/// Functions that take no space.
macro_rules! as_they_are {
    ($($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(
            async fn $name(&mut self, $($arg: $type),*) -> $answer {
                HostDescriptor::$name(&mut self.0.filesystem(), $($arg),*).await
            }
        )*
    };
}

type Fd = Resource<Descriptor>;

impl HostDescriptor for View<'_> {
    as_they_are! {
        advise(fd: Fd, offset: u64, len: u64, advice: Advice) -> FsResult<()>;
        sync_data(fd: Fd) -> FsResult<()>;
        get_flags(fd: Fd) -> FsResult<DescriptorFlags>;
        get_type(fd: Fd) -> FsResult<DescriptorType>;
        set_times(fd: Fd, accessed: NewTimestamp, modified: NewTimestamp) -> FsResult<()>;
        read(fd: Fd, len: u64, offset: u64) -> FsResult<(Vec<u8>, bool)>;
        read_directory(fd: Fd) -> FsResult<Resource<DirectoryEntryStream>>;
        sync(fd: Fd) -> FsResult<()>;
        stat(fd: Fd) -> FsResult<DescriptorStat>;
        stat_at(fd: Fd, flags: PathFlags, path: String) -> FsResult<DescriptorStat>;
        set_times_at(
            fd: Fd, flags: PathFlags, path: String, accessed: NewTimestamp, modified: NewTimestamp
        ) -> FsResult<()>;
        readlink_at(fd: Fd, path: String) -> FsResult<String>;
        remove_directory_at(fd: Fd, path: String) -> FsResult<()>;
        unlink_file_at(fd: Fd, path: String) -> FsResult<()>;
        is_same_object(one: Fd, other: Fd) -> wasmtime::Result<bool>;
        metadata_hash(fd: Fd) -> FsResult<MetadataHashValue>;
        metadata_hash_at(fd: Fd, flags: PathFlags, path: String) -> FsResult<MetadataHashValue>;
    }

    async fn set_size(&mut self, fd: Fd, size: u64) -> FsResult<()> {
        // To make a file shorter takes nothing.
        let known = Resource::new_borrow(fd.rep());
        if self.inside(&fd).is_some() && self.0.filesystem().stat(known).await?.size < size {
            self.charge_write(&fd, size)?;
        }
        self.0.filesystem().set_size(fd, size).await
    }

    async fn write(&mut self, fd: Fd, bytes: Vec<u8>, offset: u64) -> FsResult<u64> {
        self.charge_write(&fd, bytes.len() as u64)?;
        self.0.filesystem().write(fd, bytes, offset).await
    }

    fn read_via_stream(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<DynInputStream>> {
        let stream = self.0.filesystem().read_via_stream(fd, offset)?;
        let under_way = Arc::clone(&self.0.probe.under_way);
        let table = self.0.ctx().table;
        let stream = background::input(table.delete(stream)?, under_way);
        Ok(table.push(stream)?)
    }

    fn write_via_stream(&mut self, fd: Fd, offset: u64) -> FsResult<Resource<DynOutputStream>> {
        let stream = match self.stream(&fd, Some(offset))? {
            Some(stream) => stream,
            None => self.0.filesystem().write_via_stream(fd, offset)?,
        };
        self.watch_output(stream)
    }

    fn append_via_stream(&mut self, fd: Fd) -> FsResult<Resource<DynOutputStream>> {
        let stream = match self.stream(&fd, None)? {
            Some(stream) => stream,
            None => self.0.filesystem().append_via_stream(fd)?,
        };
        self.watch_output(stream)
    }

    async fn create_directory_at(&mut self, fd: Fd, path: String) -> FsResult<()> {
        self.charge_entry(&fd)?;
        self.0.filesystem().create_directory_at(fd, path).await
    }

    async fn symlink_at(&mut self, fd: Fd, old: String, new: String) -> FsResult<()> {
        self.charge_entry(&fd)?;
        self.0.filesystem().symlink_at(fd, old, new).await
    }

    async fn link_at(&mut self, fd: Fd, flags: PathFlags, old: String, dir: Fd, new: String) -> FsResult<()> {
        self.between(&fd, &dir)?;
        self.0.filesystem().link_at(fd, flags, old, dir, new).await
    }

    async fn rename_at(&mut self, fd: Fd, old: String, dir: Fd, new: String) -> FsResult<()> {
        // What takes the place of something needs no place of its own.
        let both = self.inside(&fd).is_some() && self.inside(&dir).is_some();
        if !both || !self.exists(&dir, &new).await {
            self.between(&fd, &dir)?;
        }
        self.0.filesystem().rename_at(fd, old, dir, new).await
    }

    async fn open_at(
        &mut self,
        fd: Fd,
        lookup: PathFlags,
        path: String,
        flags: OpenFlags,
        modes: DescriptorFlags,
    ) -> FsResult<Fd> {
        let known = self.inside(&fd).is_some();
        if known && flags.contains(OpenFlags::CREATE) && !self.exists(&fd, &path).await {
            self.charge_entry(&fd)?;
        }
        if !known && !self.opens_at_once(&fd, lookup, &path).await {
            return Err(ErrorCode::Unsupported.into());
        }
        let opened = self.0.filesystem().open_at(fd, lookup, path, flags, modes).await?;
        if known {
            self.enter(&opened);
            note_open_files(self.0);
        }
        Ok(opened)
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        if let Some(scratch) = &mut self.0.scratch {
            scratch.leave(fd.rep());
        }
        HostDescriptor::drop(&mut self.0.filesystem(), fd)
    }
}

impl HostDirectoryEntryStream for View<'_> {
    async fn read_directory_entry(
        &mut self,
        stream: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        self.0.filesystem().read_directory_entry(stream).await
    }

    fn drop(&mut self, stream: Resource<DirectoryEntryStream>) -> wasmtime::Result<()> {
        HostDirectoryEntryStream::drop(&mut self.0.filesystem(), stream)
    }
}

impl types::Host for View<'_> {
    fn convert_error_code(&mut self, error: FsError) -> wasmtime::Result<ErrorCode> {
        self.0.filesystem().convert_error_code(error)
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        self.0.filesystem().filesystem_error_code(error)
    }
}

impl preopens::Host for View<'_> {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Fd, String)>> {
        let dirs = preopens::Host::get_directories(&mut self.0.filesystem())?;
        for (fd, _) in dirs.iter().filter(|(_, path)| path == GUEST_PATH) {
            self.enter(fd);
        }
        Ok(dirs)
    }
}
