//! Passes the target platform to the crate: the programs that a release brings lie in a folder of that name.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-env=DEPLOYER_TARGET={}", std::env::var("TARGET").expect("Cargo sets it for build scripts"));
}
