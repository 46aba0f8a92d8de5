//! Limits on the shape of a module, which bound what compiling it can cost.

use wasmparser::{FunctionBody, Operator};

use crate::error::Error;
use crate::inspect::refused;
use crate::limits::Limits;
use crate::report::Report;

/// Something that is larger than allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the module is too large for a node to compile or start: {what} is {found}, the limit is {max}")]
pub struct Excess {
    /// What is too large, with its unit.
    pub what: &'static str,
    /// How large it is; counting may have stopped at the limit.
    pub found: u64,
    /// How large it may be.
    pub max: u64,
}

/// Refuses a number above its limit.
pub(crate) fn at_most(what: &'static str, found: u64, max: u64) -> Result<(), Excess> {
    if found <= max { Ok(()) } else { Err(Excess { what, found, max }) }
}

/// Checks what the report says, before the costlier look at the code.
pub(crate) fn check_report(report: &Report, limits: &Limits) -> Result<(), Excess> {
    at_most("number of functions", report.functions, limits.functions_max.into())?;
    let tables_max = u64::from(limits.tables_max) * u64::from(report.core_modules.max(1));
    at_most("number of tables", report.tables.len() as u64, tables_max)?;
    for table in &report.tables {
        at_most("initial number of table elements", table.initial, limits.table_elements_max)?;
    }
    let memories = report.memories.iter().filter(|memory| !memory.imported).count();
    at_most("number of memories", memories as u64, limits.memories_max.into())?;
    for memory in &report.memories {
        at_most("initial memory in bytes", memory.initial_bytes, limits.memory_bytes_max)?;
    }
    Ok(())
}

/// Checks one function with `params` parameters.
///
/// The compiler tracks every local at every place where control flow meets, so that their product is what it needs
/// memory for.
pub(crate) fn check_function(body: &FunctionBody<'_>, params: u64, limits: &Limits) -> Result<(), Error> {
    let bytes = body.range().len() as u64;
    at_most("code of one function in bytes", bytes, limits.function_bytes_max.into())?;
    let mut locals = params;
    for local in body.get_locals_reader().map_err(|e| refused(&e))? {
        let (count, _) = local.map_err(|e| refused(&e))?;
        locals = locals.saturating_add(count.into());
    }
    let locals = locals.max(1);
    // Every block takes a byte and every target of a branch table too, so most functions need no second look.
    if locals.saturating_mul(bytes) <= limits.locals_blocks_max {
        return Ok(());
    }
    let mut blocks = 0u64;
    for operator in body.get_operators_reader().map_err(|e| refused(&e))? {
        blocks += blocks_of(&operator.map_err(|e| refused(&e))?);
    }
    Ok(at_most("locals × blocks of one function", locals.saturating_mul(blocks), limits.locals_blocks_max)?)
}

/// Returns how many places an operator adds where control flow meets or parts.
#[expect(clippy::wildcard_enum_match_arm, reason = "hundreds of operators have no control flow")]
fn blocks_of(operator: &Operator<'_>) -> u64 {
    match operator {
        Operator::Block { .. }
        | Operator::Loop { .. }
        | Operator::If { .. }
        | Operator::Else
        | Operator::BrIf { .. }
        | Operator::BrOnNull { .. }
        | Operator::BrOnNonNull { .. } => 1,
        Operator::TryTable { try_table } => 1 + try_table.catches.len() as u64,
        Operator::BrTable { targets } => 1 + u64::from(targets.len()),
        _ => 0,
    }
}
