pub(crate) mod guest;
pub(crate) mod module;
pub(crate) mod spec;
pub(crate) mod wire;
