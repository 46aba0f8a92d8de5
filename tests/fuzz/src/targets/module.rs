//! The look at a module before it is taken.

use weir_module::{Kind, Limits, inspect, validate};

/// Most bytes of a refusal's text; imports and names in it are cut off.
const TEXT_LEN_MAX: usize = 16_000;

pub(crate) fn run(input: &[u8]) {
    let limits = Limits::default();
    let (report, verdict) = (inspect(input), validate(input, &limits));
    assert_eq!(validate(input, &limits), verdict, "the second look sees another thing");
    for error in report.as_ref().err().into_iter().chain(verdict.as_ref().err()) {
        assert!(error.to_string().len() < TEXT_LEN_MAX, "a refusal of {} bytes", error.to_string().len());
    }
    let Ok(valid) = verdict else { return };
    assert_eq!(report.as_ref(), Ok(&valid), "what is valid is described otherwise");
    assert!(!matches!(valid.kind, Kind::Unrunnable(_)), "something is accepted that cannot run: {:?}", valid.kind);
    assert!(valid.size_bytes == input.len() as u64 && valid.code_bytes <= valid.size_bytes);
    assert!(valid.functions <= u64::from(limits.functions_max) && valid.core_modules <= limits.core_modules_max);
    assert!(valid.memories.iter().all(|memory| memory.initial_bytes <= limits.memory_bytes_max && !memory.wide));
    assert!(valid.tables.iter().all(|table| table.initial <= limits.table_elements_max));
    assert!(valid.memory_max_bytes().is_none_or(|most| most >= valid.memory_min_bytes()), "{valid:?}");
    assert!(
        valid.memory_min_bytes()
            >= valid.memories.first().map_or(0, |memory| { if memory.imported { 0 } else { memory.initial_bytes } })
    );
}
