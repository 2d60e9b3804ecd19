//! JSON as it comes in the wild, read leniently, in linear time and bounded memory.
//!
//! A strict parser rejects a whole answer for one lone surrogate, one `NaN` or a nesting of 10,000 levels, and the
//! rest of the answer is lost with it. This one rejects nothing. [`Scanner`] takes the bytes in pieces, hands over the
//! values that its [`Reader`] wants, and skips everything else by counting brackets. It is not recursive, and it holds
//! no more than one short text. [`Unescaped`] reads a text of any length. [`value()`] makes a value for a table.
//!
//! Why not a crate: `serde_json` and `struson` reject lone surrogates whatever their settings. Neither can be given
//! the bytes in pieces, which is needed to count the results in lines of any length.

mod scan;
mod text;
mod value;

pub use scan::{ITEM, Kind, Reader, Scanned, Scanner, Span};
pub use text::{Unescaped, unescaped};
pub use value::value;
