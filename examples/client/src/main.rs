//! Connects to the address that is its argument, sends its input, and writes the answer.

#![forbid(unsafe_code)]

use std::{
    env,
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
};

fn main() -> io::Result<()> {
    let address = env::args().nth(1).ok_or_else(|| io::Error::other("give HOST:PORT as the argument"))?;
    let mut question = Vec::new();
    io::stdin().read_to_end(&mut question)?;
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(&question)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    io::stdout().write_all(&answer)
}
