//! JSON as it comes in the wild, read leniently, in linear time and bounded memory.
//!
//! A strict parser refuses a whole answer for one lone surrogate, one `NaN` or a nesting of 10,000 levels, and all that
//! stands beside it is lost. Here nothing is refused: [`Scanner`] takes the bytes in pieces, hands over the values
//! that its [`Reader`] wants, and skips everything else by counting brackets. It is neither recursive nor does it
//! hold more than one short text. [`Unescaped`] reads a text of any length, [`value()`] makes a value for a table.
//!
//! Why not a crate: `serde_json` and `struson` refuse lone surrogates whatever their settings, and neither can be
//! handed pieces, as lines of any length that are counted on their way need it.

mod scan;
mod text;
mod value;

pub use scan::{ITEM, Kind, Reader, Scanned, Scanner, Span};
pub use text::{Unescaped, unescaped};
pub use value::value;
