//! The variables of this process, or of whoever stands for it.

/// Looks a variable up. A parameter, so that tests and the local machine need no process environment.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The environment of this process, as a [`Lookup`].
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
