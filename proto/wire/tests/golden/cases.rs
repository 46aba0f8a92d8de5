//! What one sample is.

use std::fmt::Debug;

use weir_wire::codec::Document;

type Check = Box<dyn Fn(&[u8]) -> bool>;

/// One sample.
pub(crate) struct Case {
    /// The name of its file.
    pub(crate) name: &'static str,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// Whether bytes decode to exactly the sample.
    pub(crate) is_sample: Check,
    /// Whether its first byte is a format version.
    pub(crate) versioned: bool,
    /// The type of the document, if it is one.
    pub(crate) document: Option<&'static str>,
}

/// The sample of a document.
pub(crate) fn document<T: Document + PartialEq + Debug + 'static>(name: &'static str, sample: T) -> Case {
    let bytes = sample.to_bytes();
    let is_sample = Box::new(move |bytes: &[u8]| T::from_bytes(bytes).is_ok_and(|value| value == sample));
    let document = std::any::type_name::<T>().rsplit("::").next();
    Case { name, bytes, is_sample, versioned: true, document }
}
