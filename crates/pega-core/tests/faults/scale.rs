//! How much is tried.

/// `full` if the environment asks for it, else `short`.
pub fn of<T>(short: T, full: T) -> T {
    match std::env::var("PENGUIFLOW_TEST_SCALE").as_deref() {
        Ok("full") => full,
        Ok("short") | Err(_) => short,
        Ok(other) => panic!("PENGUIFLOW_TEST_SCALE is 'short' or 'full', not '{other}'"),
    }
}
