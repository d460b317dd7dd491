//! Programs that print credentials.

use super::case::{Case, check_all};

/// The source of the credentials in errors.
const SOURCE: &str = "with profile dev (credential_process)";

/// A profile with a program.
const PROCESS: Case = Case { profile: "dev", source: SOURCE, ..Case::NONE };

const CASES: &[Case] = &[
    Case {
        what: "it fails",
        config: "[profile dev]\ncredential_process = sh -c 'echo no such vault >&2; exit 3'\n",
        error: "Error retrieving credentials: external process exited with code exit status: 3. Stderr: no such vault",
        hint: "check its output: `sh -c",
        ..PROCESS
    },
    Case {
        what: "it is not there",
        config: "[profile dev]\ncredential_process = /nowhere/creds\n",
        error: "Error retrieving credentials: external process exited with code exit status: 127. Stderr: sh: 1: \
                /nowhere/creds: not found",
        hint: "`/nowhere/creds`",
        ..PROCESS
    },
    Case {
        what: "it prints no JSON",
        config: "[profile dev]\ncredential_process = echo hello\n",
        error: "Error retrieving credentials from external process, could not parse response: invalid JSON in \
                response: Error at offset 0: unexpected token 'h'. Expected one of '{', '[', '\"', 'null', 'true', \
                'false', <number>",
        hint: "check its output: `echo hello`",
        ..PROCESS
    },
    Case {
        what: "it never ends",
        config: "[profile dev]\ncredential_process = exec sleep 20\n",
        error: "its credential_process printed nothing within 10 s",
        hint: "try it by hand: `exec sleep 20`",
        ..PROCESS
    },
    Case {
        what: "it is empty",
        config: "[profile dev]\ncredential_process =\n",
        source: "with profile dev",
        error: "credential_process of profile dev is empty",
        hint: "name a command",
        ..PROCESS
    },
];

#[test]
fn a_credential_process_that_fails_is_named_with_its_output() {
    check_all(CASES);
}
