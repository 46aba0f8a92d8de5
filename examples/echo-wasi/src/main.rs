//! A plain WASI command without the SDK: prints its arguments, its whole environment and its standard input, so that
//! one can see what a task is given. `--exit N` makes it end with that exit code.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::process::ExitCode;

/// Most bytes of standard input it reads.
const INPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match echo(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("echo-wasi: {error}");
            ExitCode::from(2)
        }
    }
}

fn echo(arguments: &[String]) -> io::Result<ExitCode> {
    let code = exit_code(arguments)?;
    let mut input = Vec::new();
    io::stdin().take(INPUT_BYTES_MAX).read_to_end(&mut input)?;
    let mut environment: Vec<_> = std::env::vars_os().collect();
    environment.sort();

    let mut output = io::stdout().lock();
    for argument in arguments {
        writeln!(output, "arg {argument}")?;
    }
    for (name, value) in environment {
        writeln!(output, "env {}={}", name.display(), value.display())?;
    }
    writeln!(output, "stdin {} bytes", input.len())?;
    output.write_all(&input)?;
    output.flush()?;
    eprintln!("echo-wasi: read {} bytes, exiting with {code}", input.len());
    Ok(ExitCode::from(code))
}

/// Reads the number after `--exit`, 0 without one.
fn exit_code(arguments: &[String]) -> io::Result<u8> {
    let Some(position) = arguments.iter().position(|argument| argument == "--exit") else {
        return Ok(0);
    };
    let number = arguments.get(position + 1).and_then(|number| number.parse().ok());
    number.ok_or_else(|| io::Error::other("--exit takes a number from 0 to 255"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_exit_code() {
        for (arguments, expected) in [
            (vec![], Some(0)),
            (vec!["a", "--exit", "42"], Some(42)),
            (vec!["--exit", "255", "b"], Some(255)),
            (vec!["--exit"], None),
            (vec!["--exit", "256"], None),
        ] {
            let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
            assert_eq!(exit_code(&arguments).ok(), expected, "{arguments:?}");
        }
    }
}
