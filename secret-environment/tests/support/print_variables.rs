//! Prints the variables that its arguments name, after those that are kept in AWS have been set.

fn main() -> Result<(), String> {
    secret_environment::enter().map_err(|error| error.to_string())?;
    for name in std::env::args().skip(1) {
        println!("{name}={:?}", std::env::var(&name).ok());
    }
    Ok(())
}
