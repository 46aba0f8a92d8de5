//! Frames on the socket between the daemon and a worker process: a length of four bytes, then messages.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    ops::Range,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use weir_wire::{codec::Wire, worker::FRAME_LEN_MAX};

/// Bytes of the length in front of a frame.
const LENGTH_BYTES: usize = 4;
/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;
/// A buffer that has grown beyond this gives its memory back.
const BUFFER_BYTES_KEPT: usize = 1 << 20;
/// Descriptors that come with one frame: the cache and the published directories.
pub(super) const DESCRIPTORS_MAX: usize = 64;

/// Gathers messages into a frame and sends it.
pub(super) struct Outgoing {
    socket: UnixStream,
    buffer: Vec<u8>,
}

impl Outgoing {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self { socket, buffer: vec![0; LENGTH_BYTES] }
    }

    /// Adds a message, and returns the bytes of the frame so far.
    pub(super) fn push(&mut self, message: &impl Wire) -> usize {
        message.encode(&mut self.buffer);
        self.buffer.len()
    }

    /// Sends the frame, with descriptors if there are any; nothing if it is empty.
    pub(super) fn send(&mut self, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let len = self.buffer.len() - LENGTH_BYTES;
        if len == 0 {
            return Ok(());
        }
        let length = u32::try_from(len).ok().filter(|_| len <= FRAME_LEN_MAX);
        let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"))?;
        self.buffer[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        let sent = if descriptors.is_empty() { 0 } else { self.send_with(descriptors)? };
        self.socket.write_all(&self.buffer[sent..])?;
        self.buffer.truncate(LENGTH_BYTES);
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer.shrink_to(BUFFER_BYTES_KEPT);
        }
        Ok(())
    }

    fn send_with(&self, descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
        }
        Ok(sendmsg(&self.socket, &[IoSlice::new(&self.buffer)], &mut control, SendFlags::empty())?)
    }
}

/// Reads frames.
pub(super) struct Incoming {
    socket: UnixStream,
    buffer: Vec<u8>,
    /// What is in the buffer and not read.
    unread: Range<usize>,
    /// The descriptors that came so far, if any are taken.
    descriptors: Option<VecDeque<OwnedFd>>,
}

impl Incoming {
    /// Reads frames and drops descriptors that come with them.
    pub(super) const fn new(socket: UnixStream) -> Self {
        Self { socket, buffer: Vec::new(), unread: 0..0, descriptors: None }
    }

    /// Reads frames and keeps the descriptors that come with them.
    pub(super) const fn with_descriptors(socket: UnixStream) -> Self {
        Self { socket, buffer: Vec::new(), unread: 0..0, descriptors: Some(VecDeque::new()) }
    }

    /// The oldest descriptor that was not taken yet.
    pub(super) fn descriptor(&mut self) -> io::Result<OwnedFd> {
        let oldest = self.descriptors.as_mut().and_then(VecDeque::pop_front);
        oldest.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a descriptor is missing"))
    }

    /// The content of the next frame; its place in [`Self::bytes`]. `None` at the end of the stream.
    pub(super) fn next(&mut self) -> io::Result<Option<Range<usize>>> {
        loop {
            if let Some(frame) = self.complete()? {
                return Ok(Some(frame));
            }
            self.make_room();
            match self.read() {
                Ok(0) if self.unread.is_empty() => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(len) => self.unread.end += len,
                // Also when this process was stopped for a while.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The bytes of a frame.
    pub(super) fn bytes(&self, frame: Range<usize>) -> &[u8] {
        &self.buffer[frame]
    }

    fn complete(&mut self) -> io::Result<Option<Range<usize>>> {
        let unread = &self.buffer[self.unread.clone()];
        let Some((length, rest)) = unread.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let len = u32::from_le_bytes(*length) as usize;
        if len > FRAME_LEN_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too long"));
        }
        if rest.len() < len {
            return Ok(None);
        }
        let start = self.unread.start + LENGTH_BYTES;
        self.unread.start = start + len;
        Ok(Some(start..start + len))
    }

    /// Grows the buffer with what has come, never by what a length merely claims.
    fn make_room(&mut self) {
        self.buffer.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        let wanted = self.unread.end + self.unread.end.max(READ_BYTES);
        if self.buffer.len() < self.unread.end + READ_BYTES {
            self.buffer.resize(wanted, 0);
        } else if self.unread.is_empty() && self.buffer.len() > BUFFER_BYTES_KEPT {
            self.buffer.truncate(READ_BYTES);
            self.buffer.shrink_to_fit();
        }
    }

    fn read(&mut self) -> io::Result<usize> {
        let room = &mut self.buffer[self.unread.end..];
        let Some(descriptors) = &mut self.descriptors else { return self.socket.read(room) };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(&self.socket, &mut [IoSliceMut::new(room)], &mut control, flags)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        Ok(received.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::AsFd};

    use super::*;

    fn pair() -> (Outgoing, Incoming) {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        (Outgoing::new(ours), Incoming::with_descriptors(theirs))
    }

    #[test]
    fn frames_arrive_whole_and_in_order() {
        let (mut out, mut incoming) = pair();
        let sender = std::thread::spawn(move || {
            for number in 0..2000u64 {
                out.push(&number);
                if number % 3 == 0 {
                    out.send(&[]).expect("sent");
                }
            }
            // Longer than the socket holds.
            out.push(&Box::<[u8]>::from(vec![7; 900_000]));
            out.send(&[]).expect("sent");
        });
        let mut next = 0;
        while next < 2000 {
            let frame = incoming.next().expect("a frame").expect("not the end");
            let mut reader = weir_wire::codec::Reader::new(incoming.bytes(frame));
            while reader.remaining() > 900_003 || (reader.remaining() > 0 && next < 2000) {
                assert_eq!(u64::decode(&mut reader).expect("a number"), next);
                next += 1;
            }
            if next == 2000 {
                assert_eq!(Box::<[u8]>::decode(&mut reader).expect("bytes").len(), 900_000);
            }
        }
        sender.join().expect("no panic");
        assert_eq!(incoming.next().expect("the end"), None);
    }

    #[test]
    fn descriptors_come_with_their_frame() {
        let (mut out, mut incoming) = pair();
        let file = File::open("/dev/null").expect("opened");
        out.push(&1u64);
        out.send(&[]).expect("sent");
        out.push(&2u64);
        out.send(&[file.as_fd(), file.as_fd()]).expect("sent");
        assert!(incoming.next().expect("a frame").is_some());
        assert!(incoming.next().expect("a frame").is_some());
        assert!(incoming.descriptor().is_ok() && incoming.descriptor().is_ok() && incoming.descriptor().is_err());
    }

    #[test]
    fn a_length_that_cannot_be_is_refused_and_a_cut_frame_is_no_end() {
        for (bytes, kind) in [
            (&u32::MAX.to_le_bytes()[..], io::ErrorKind::InvalidData),
            (&[9, 0, 0, 0, 1], io::ErrorKind::UnexpectedEof),
        ] {
            let (mut ours, theirs) = UnixStream::pair().expect("a pair of sockets");
            ours.write_all(bytes).expect("written");
            drop(ours);
            let mut incoming = Incoming::new(theirs);
            assert_eq!(incoming.next().expect_err("refused").kind(), kind);
        }
    }
}
