//! The engine: one configuration for compiling and for running, which differ only in the allocator.

use std::num::NonZeroUsize;

use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, OperatorCost, OptLevel, PoolingAllocationConfig, Strategy,
    VariableOperatorCost, WasmBacktraceDetails,
};
use weir_wire::limits::BACKTRACE_FRAMES_MAX;

use crate::limits;

/// An engine that only compiles.
pub(crate) fn compiling() -> wasmtime::Result<Engine> {
    Engine::new(&base())
}

/// An engine with slots for `lanes` attempts at the same time.
///
/// Memory protection keys are left out of the build: they have let neighbours read each other's memory.
pub(crate) fn running(lanes: u32, memory_max: usize) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(lanes * limits::INSTANCES_PER_ATTEMPT_MAX)
        .total_component_instances(lanes)
        .total_memories(lanes * limits::MEMORIES_PER_ATTEMPT_MAX)
        .total_tables(lanes * limits::TABLES_PER_ATTEMPT_MAX)
        .total_stacks(lanes)
        .total_gc_heaps(lanes)
        .max_core_instances_per_component(limits::INSTANCES_PER_ATTEMPT_MAX)
        .max_memories_per_component(limits::MEMORIES_PER_ATTEMPT_MAX)
        .max_tables_per_component(limits::TABLES_PER_ATTEMPT_MAX)
        .max_memories_per_module(1)
        .max_tables_per_module(limits::TABLES_PER_MODULE_MAX)
        .table_elements(limits::TABLE_ELEMENTS_MAX)
        .max_memory_size(memory_max)
        .linear_memory_keep_resident(limits::MEMORY_KEEP_RESIDENT_BYTES)
        .table_keep_resident(limits::TABLE_KEEP_RESIDENT_BYTES);
    let mut config = base();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

fn base() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_nan_canonicalization(true)
        // A compile must not take every core from the guests, nor the memory of several functions at a time.
        .parallel_compilation(false)
        // Registering unwind tables is quadratic in the number of loaded modules.
        .native_unwind_info(false)
        .consume_fuel(true)
        .operator_cost(OperatorCost {
            variable: VariableOperatorCost {
                memory_grow_per_page: limits::GROW_FUEL_PER_PAGE,
                ..VariableOperatorCost::new()
            },
            ..OperatorCost::new()
        })
        .max_wasm_stack(limits::WASM_STACK_BYTES)
        .async_stack_size(limits::FIBRE_STACK_BYTES)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES_MAX))
        .memory_init_cow(true)
        .wasm_exceptions(true)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_multi_memory(false)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_component_model(true);
    config
}
