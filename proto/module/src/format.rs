//! What a file is before it is parsed: WebAssembly, cut off, or something else that people submit by mistake.

use crate::error::{Error, Looks};

/// The first bytes of every module and component.
const MAGIC: [u8; 4] = *b"\0asm";
/// The magic and the version.
const HEADER_LEN: usize = 8;
/// The version of a core module.
const VERSION_MODULE: u32 = 1;
/// The version of a component: 13, in layer 1.
const VERSION_COMPONENT: u32 = 0x1_000d;

/// How much of a file is looked at to tell what text it is, bytes.
const SAMPLE_LEN: usize = 1024;
/// Where a tar archive has its magic.
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");

/// Checks that `bytes` are WebAssembly as far as its outermost sections tell.
pub(crate) fn recognise(bytes: &[u8]) -> Result<(), Error> {
    if bytes.is_empty() {
        return Err(Error::Empty);
    }
    let magic_len = bytes.len().min(MAGIC.len());
    if bytes[..magic_len] != MAGIC[..magic_len] {
        return Err(other(bytes));
    }
    let Some(version) = bytes.get(MAGIC.len()..HEADER_LEN).and_then(|b| b.first_chunk::<4>()) else {
        return Err(Error::NotWasm(Looks::Cut));
    };
    let version = u32::from_le_bytes(*version);
    if version != VERSION_MODULE && version != VERSION_COMPONENT {
        return Err(Error::UnknownVersion { version });
    }
    sections(bytes)
}

/// Checks that every outermost section is there in full. Sections inside these cannot be cut then: the file may be
/// invalid, but not truncated.
fn sections(bytes: &[u8]) -> Result<(), Error> {
    let mut at = HEADER_LEN;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let Some((len, len_of_len)) = leb128(&rest[1..]) else {
            // A length that is cut off, or that is no length, which the parser reports better.
            return if rest.len() <= 5 && rest[1..].iter().all(|b| b & 0x80 != 0) {
                Err(Error::Truncated { offset: at as u64, needed: rest.len() as u64 + 1, available: rest.len() as u64 })
            } else {
                Ok(())
            };
        };
        let needed = 1 + len_of_len as u64 + u64::from(len);
        if needed > rest.len() as u64 {
            return Err(Error::Truncated { offset: at as u64, needed, available: rest.len() as u64 });
        }
        at += usize::try_from(needed).unwrap_or(rest.len());
    }
    Ok(())
}

/// Reads an unsigned number of at most 32 bits; returns it with its length.
fn leb128(bytes: &[u8]) -> Option<(u32, usize)> {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(value).ok()?, at + 1));
        }
    }
    None
}

fn other(bytes: &[u8]) -> Error {
    const MAGICS: [(&[u8], Looks); 21] = [
        (b"\x1f\x8b", Looks::Gzip),
        (b"PK\x03\x04", Looks::Zip),
        (b"\x28\xb5\x2f\xfd", Looks::Compressed),
        (b"\xfd7zXZ\0", Looks::Compressed),
        (b"BZh", Looks::Compressed),
        (b"\x7fELF", Looks::Native),
        (b"\xfe\xed\xfa\xce", Looks::Native),
        (b"\xfe\xed\xfa\xcf", Looks::Native),
        (b"\xce\xfa\xed\xfe", Looks::Native),
        (b"\xcf\xfa\xed\xfe", Looks::Native),
        (b"\xca\xfe\xba\xbe", Looks::Native),
        (b"MZ", Looks::Native),
        (b"!<arch>\n", Looks::Library),
        (b"BC\xc0\xde", Looks::Bitcode),
        (b"#!", Looks::Script),
        (b"(module", Looks::Wat),
        (b"(component", Looks::Wat),
        (b"(;", Looks::Wat),
        (b";;", Looks::Wat),
        (b"<!", Looks::Html),
        (b"<html", Looks::Html),
    ];
    if is_precompiled(bytes) {
        return Error::Precompiled;
    }
    let (tar_at, tar) = TAR_MAGIC;
    if bytes.get(tar_at..).is_some_and(|rest| rest.starts_with(tar)) {
        return Error::NotWasm(Looks::Tar);
    }
    let start = bytes.trim_ascii_start();
    let known = MAGICS.into_iter().find(|(magic, _)| bytes.starts_with(magic) || start.starts_with(magic));
    Error::NotWasm(known.map_or_else(|| text(bytes), |(_, looks)| looks))
}

/// wasmtime's artefacts are ELF files whose sections it names itself.
fn is_precompiled(bytes: &[u8]) -> bool {
    const SECTION: &[u8] = b".wasmtime.";
    bytes.starts_with(b"\x7fELF") && bytes.windows(SECTION.len()).any(|window| window == SECTION)
}

fn text(bytes: &[u8]) -> Looks {
    let sample = &bytes[..bytes.len().min(SAMPLE_LEN)];
    let text = match std::str::from_utf8(sample) {
        Ok(text) => text,
        // A character may be cut at the end of the sample.
        Err(error) if error.error_len().is_none() && sample.len() == SAMPLE_LEN => {
            std::str::from_utf8(&sample[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return Looks::Unknown,
    };
    if text.chars().any(|c| c.is_control() && !c.is_ascii_whitespace()) {
        return Looks::Unknown;
    }
    const JAVASCRIPT: [&str; 6] = ["import ", "export ", "const ", "var ", "function", "WebAssembly."];
    if JAVASCRIPT.iter().any(|word| text.contains(word)) { Looks::JavaScript } else { Looks::Text }
}
