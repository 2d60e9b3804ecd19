pub mod condition;
pub mod schema;
pub mod transitions;
