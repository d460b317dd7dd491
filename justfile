# The daily commands. `just` lists them.

_default:
    @just --list

# Deploys the app on this machine
up:
    cargo run -- up --local

# Removes it again
down:
    cargo run -- down --local

# Runs everything that must pass
ci:
    .ci/run

# Runs all tests, or those selected by the arguments
test *arguments:
    .ci/test {{arguments}}

# Runs the unit tests
unit:
    cargo test --workspace --lib

# Formats the code
fmt:
    cargo fmt --all
    rustfmt deployer/src/kinds/*.rs

# Lints the code
lint:
    cargo clippy --workspace --all-targets -- -D warnings
    cargo deny check bans licenses sources

# Renders the documentation of the code
doc:
    cargo doc --workspace --no-deps --open

# Fuzzes each parser of untrusted input for this many seconds
fuzz seconds="60":
    .ci/fuzz {{seconds}}

# Deploys the app on this machine, built with the nightly compiler: of the largest crate, aws-sdk-ec2, it compiles what is used
up-nightly:
    cargo +nightly run -- up --local

# Builds one step of a release, such as `just release archive x86_64-unknown-linux-musl`
release *arguments:
    .ci/release {{arguments}}
