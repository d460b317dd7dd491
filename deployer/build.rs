//! Passes the target platform to the crate: the programs that a release brings lie in a folder of that name. Gives the
//! main thread on Windows the stack that it has on other systems.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // `cargo run` passes it on to the deployer, which warns about unknown variables that begin with DEPLOYER_.
    println!("cargo::rustc-env=BUILT_FOR={}", variable("TARGET"));
    if variable("CARGO_CFG_TARGET_OS") == "windows" {
        // Commands run on the main thread, for which Windows reserves 1 MiB unless the program states another size.
        let stack = match variable("CARGO_CFG_TARGET_ENV").as_str() {
            "msvc" => "/STACK:8388608",
            _ => "-Wl,--stack,8388608",
        };
        println!("cargo::rustc-link-arg-bins={stack}");
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).expect("Cargo sets it for build scripts")
}
