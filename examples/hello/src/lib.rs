//! A task that greets: typed input and output, log lines and progress.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};
use weir_sdk::{Error, ensure, log};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    name: String,
}

#[derive(Debug, PartialEq, Serialize)]
struct Output {
    greeting: String,
    index: u32,
    count: u32,
}

#[weir_sdk::task]
fn hello(input: Option<Input>) -> Result<Output, Error> {
    let context = weir_sdk::context();
    let name = input.map_or_else(|| "world".to_owned(), |input| input.name);
    ensure!(!name.trim().is_empty(), "the name is empty");
    log::info!("task {} of {} of job {}, attempt {}", context.index, context.count, context.job, context.attempt);
    let greeting = format!("Hello, {name}!");
    weir_sdk::progress(1, 1);
    Ok(Output { greeting, index: context.index, count: context.count })
}

#[cfg(test)]
mod tests {
    use weir_sdk::testing::TestHost;

    use super::*;

    #[test]
    fn greets_by_name() {
        let seen = TestHost::new().task(2, 3).run_payload(br#"{"name":"Ada"}"#, hello);
        assert_eq!(seen.value.unwrap(), br#"{"greeting":"Hello, Ada!","index":2,"count":3}"#);
        assert_eq!(seen.log, [(log::Level::Info, "task 2 of 3 of job test, attempt 1".to_owned())]);
        assert_eq!(seen.progress, [(1, 1)]);
    }

    #[test]
    fn greets_the_world_without_input() {
        let seen = TestHost::new().run_payload(b"", hello);
        assert_eq!(seen.value.unwrap(), br#"{"greeting":"Hello, world!","index":0,"count":1}"#);
    }

    #[test]
    fn refuses_what_is_not_a_name() {
        for (payload, message) in [
            (r#"{"name":" "}"#, "the name is empty"),
            (r#"{"nme":"Ada"}"#, "unknown field `nme`, expected `name` at line 1 column 6"),
            ("{}", "missing field `name` at line 1 column 2"),
        ] {
            let error = TestHost::new().run_payload(payload.as_bytes(), hello).value.unwrap_err();
            assert!(error.message().ends_with(message), "{error}");
        }
    }
}
