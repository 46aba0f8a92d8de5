//! Fills its scratch directory until it is refused, and says with what: in one file, in many, at the end of one that is
//! there, and in files that it has removed while they are open.

#![forbid(unsafe_code)]

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
};

/// Bytes written at a time.
const CHUNK: [u8; 16 * 1024] = [0xA5; 16 * 1024];

fn main() {
    let ways: [(&str, fn() -> io::Result<()>); 4] =
        [("one file", one_file), ("many files", many_files), ("appending", appending), ("removed files", removed_files)];
    for (name, way) in ways {
        if fs::read_dir("/tmp").map(Iterator::count).is_ok_and(|count| count > 0) {
            clear();
        }
        match way() {
            Err(error) if matches!(error.kind(), ErrorKind::StorageFull) => println!("{name}: full"),
            Err(error) => println!("{name}: {error}"),
            Ok(()) => println!("{name}: never refused"),
        }
    }
    clear();
    // What was given back is there again.
    println!("afterwards: {:?}", fs::write("/tmp/last", CHUNK).map_err(|error| error.kind()));
}

/// More than any scratch directory has.
const TIMES: usize = 100_000;

fn one_file() -> io::Result<()> {
    let mut file = File::create("/tmp/one")?;
    (0..TIMES).try_for_each(|_| file.write_all(&CHUNK))
}

fn many_files() -> io::Result<()> {
    (0..TIMES).try_for_each(|at| fs::write(format!("/tmp/{at}"), CHUNK))
}

fn appending() -> io::Result<()> {
    for _ in 0..TIMES {
        OpenOptions::new().create(true).append(true).open("/tmp/end")?.write_all(&CHUNK)?;
    }
    Ok(())
}

fn removed_files() -> io::Result<()> {
    let mut open = Vec::new();
    for _ in 0..TIMES {
        let mut file = File::create("/tmp/gone")?;
        fs::remove_file("/tmp/gone")?;
        file.write_all(&CHUNK)?;
        open.push(file);
    }
    Ok(())
}

fn clear() {
    for entry in fs::read_dir("/tmp").into_iter().flatten().flatten() {
        if let Err(error) = fs::remove_file(entry.path()) {
            println!("cannot remove {}: {error}", entry.path().display());
        }
    }
}
