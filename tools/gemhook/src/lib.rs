//! What is not deployed: the `gemhook` command ([`cli`]) and the local machine that it starts ([`dev`]), which runs the
//! deployed functions' own code against embedded stores and a simulated Gemini API. It is a library too, so that the
//! functions' tests can use the local machine.

pub mod cli;
pub mod dev;
