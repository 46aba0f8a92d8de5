//! The decision whether a binary may be submitted.

use wasmparser::types::TypesRef;
use wasmparser::{
    CompositeInnerType, ExternalKind, FuncToValidate, FuncValidatorAllocations, FunctionBody, Parser, Payload,
    ValidPayload, Validator, ValidatorResources, WasmModuleResources,
};

use crate::error::Error;
use crate::features::ALLOWED;
use crate::inspect::{refused, scan};
use crate::limits::Limits;
use crate::provide;
use crate::report::{Kind, Report, Unrunnable};
use crate::structure;

/// Decides whether a node would take a binary, and describes it.
///
/// The size comes first, then the structure, then every instruction, then the imports and the kind. Measured: 7
/// milliseconds for each megabyte.
///
/// # Errors
/// The first reason to refuse it; all unknown imports count as one.
pub fn validate(bytes: &[u8], limits: &Limits) -> Result<Report, Error> {
    let mut report = scan(bytes, limits)?;
    structure::check_report(&report, limits)?;
    let is_command = check_code(bytes, limits)?;
    if report.kind == Kind::CoreCommandP1 && !is_command {
        report.kind = Kind::Unrunnable(Unrunnable::StartNotACommand);
    }
    let unknown = provide::unknown_imports(&report);
    if !unknown.is_empty() {
        return Err(Error::UnknownImports(unknown));
    }
    match report.kind {
        Kind::Unrunnable(why) => Err(Error::NotRunnable(why)),
        Kind::CoreCommandP1 | Kind::CommandComponent | Kind::TaskComponent => Ok(report),
    }
}

/// Validates every section and function; returns whether the outermost `_start` takes and returns nothing.
fn check_code(bytes: &[u8], limits: &Limits) -> Result<bool, Error> {
    let mut validator = Validator::new_with_features(ALLOWED);
    let mut parser = Parser::new(0);
    parser.set_features(ALLOWED);
    let mut allocations = FuncValidatorAllocations::default();
    let mut start = None;
    let mut is_command = false;
    for payload in parser.parse_all(bytes) {
        let payload = payload.map_err(|e| refused(&e))?;
        if let Payload::ExportSection(section) = &payload {
            // Only a core module's own `_start` is looked at in the end; a component has no outermost one.
            let exports = section.clone().into_iter().map_while(Result::ok);
            start = exports.filter(|e| e.name == "_start" && e.kind == ExternalKind::Func).map(|e| e.index).last();
        }
        match validator.payload(&payload).map_err(|e| refused(&e))? {
            ValidPayload::Ok | ValidPayload::Parser(_) => {}
            ValidPayload::Func(function, body) => {
                allocations = check_function(function, &body, allocations, limits)?;
            }
            ValidPayload::End(types) => is_command = start.is_some_and(|index| is_plain(types.as_ref(), index)),
        }
    }
    Ok(is_command)
}

fn check_function(
    function: FuncToValidate<ValidatorResources>,
    body: &FunctionBody<'_>,
    allocations: FuncValidatorAllocations,
    limits: &Limits,
) -> Result<FuncValidatorAllocations, Error> {
    let params = function.resources.sub_type_at(function.ty).map_or(0, |ty| match &ty.composite_type.inner {
        CompositeInnerType::Func(signature) => signature.params().len() as u64,
        CompositeInnerType::Array(_) | CompositeInnerType::Struct(_) | CompositeInnerType::Cont(_) => 0,
    });
    structure::check_function(body, params, limits)?;
    let mut validator = function.into_validator(allocations);
    validator.validate(body).map_err(|e| refused(&e))?;
    Ok(validator.into_allocations())
}

/// Tells whether a core function takes and returns nothing.
fn is_plain(types: TypesRef<'_>, index: u32) -> bool {
    if index >= types.function_count() {
        return false;
    }
    match &types[types.core_function_at(index)].composite_type.inner {
        CompositeInnerType::Func(signature) => signature.params().is_empty() && signature.results().is_empty(),
        CompositeInnerType::Array(_) | CompositeInnerType::Struct(_) | CompositeInnerType::Cont(_) => false,
    }
}
