//! The local machine: the same handlers against embedded stores and a simulated Gemini API, all in one process on
//! loopback. The library knows nothing of it.

mod bus;
mod changes;
mod function_url;
mod invocation;
mod machine;
mod ports;
pub mod stores;
mod stream_pump;

pub use bus::{Announced, Bus, BusFault, newest_announced};
pub use changes::Change;
pub use machine::{ADDRESSES, Addresses, BindingKeyOption, Machine, Options, quick};
pub use ports::{DEFAULT_PORT, Ports, page_port};
