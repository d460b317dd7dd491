//! The architecture a program was built for, read from the start of its file as the kernel does.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use object::elf;
use object::endian::Endianness;
use object::pod;

/// The errno of `execve` for a file that this system cannot run: `ENOEXEC` on Linux and macOS.
const EXEC_FORMAT_ERROR: i32 = 8;

/// Checks that a machine of an architecture, `x86_64` or `arm64`, can run the program in a file.
///
/// Only the file decides, as in the kernel: `execvp` and the like pass a text without `#!` to a shell, but systemd and
/// Lambda do not. On a host that is not x86-64, programs for the host are also accepted, in place of those of the
/// architecture.
///
/// Errors: the file cannot be read; `ENOEXEC`.
pub fn check(file: &Path, architecture: &str) -> io::Result<()> {
    let mut head = [0; 64];
    let length = read_head(&mut File::open(file)?, &mut head)?;
    match fits(&head[..length], architecture, std::env::consts::ARCH, std::env::consts::OS) {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(EXEC_FORMAT_ERROR)),
    }
}

fn read_head(file: &mut File, head: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < head.len() {
        match file.read(&mut head[length..])? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

fn fits(head: &[u8], architecture: &str, host: &str, system: &str) -> bool {
    if head.starts_with(b"#!") {
        return true;
    }
    let Some(machine) = machine(head) else {
        // Native programs of other systems are not ELF files, so it is unknown whether AWS would run them.
        return system != "linux" && !head.starts_with(&elf::ELFMAG) && is_binary(head);
    };
    let wanted = if architecture == "arm64" { "aarch64" } else { architecture };
    machine == wanted || (host != "x86_64" && machine == host)
}

/// The machine of a 64-bit ELF file, as in `std::env::consts::ARCH`.
fn machine(head: &[u8]) -> Option<&'static str> {
    type Header = elf::FileHeader64<Endianness>;
    let (header, _) = pod::from_bytes::<Header>(head).ok()?;
    if header.e_ident.magic != elf::ELFMAG || header.e_ident.class != elf::ELFCLASS64 {
        return None;
    }
    match (header.e_ident.data, header.e_machine.get(Endianness::Little)) {
        (elf::ELFDATA2LSB, elf::EM_X86_64) => Some("x86_64"),
        (elf::ELFDATA2LSB, elf::EM_AARCH64) => Some("aarch64"),
        _ => Some("another"),
    }
}

fn is_binary(head: &[u8]) -> bool {
    head.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start of an ELF file with this class, byte order and machine.
    fn elf_head(class: u8, data: u8, machine: u16) -> Vec<u8> {
        let mut head = vec![0; 64];
        head[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, data, 1]);
        head[18..20].copy_from_slice(&machine.to_le_bytes());
        head
    }

    #[test]
    fn a_program_runs_on_the_architecture_of_its_file() {
        let (x86, arm) = (elf_head(2, 1, 62), elf_head(2, 1, 183));
        for (head, architecture, host, expected) in [
            (&x86[..], "x86_64", "x86_64", true),
            (&x86, "arm64", "x86_64", false),
            (&arm, "arm64", "x86_64", true),
            (&arm, "x86_64", "x86_64", false),
            (&arm, "x86_64", "aarch64", true),
            (&x86, "arm64", "aarch64", false),
            (&elf_head(1, 1, 3), "x86_64", "x86_64", false),
            (&elf_head(2, 1, 243), "x86_64", "x86_64", false),
            (b"#!/bin/sh\n", "arm64", "x86_64", true),
            (b"echo hello\n", "x86_64", "x86_64", false),
            (b"", "x86_64", "x86_64", false),
            (b"\x7fELF", "x86_64", "x86_64", false),
        ] {
            assert_eq!(fits(head, architecture, host, "linux"), expected, "{head:?} on {architecture} at {host}");
        }
        let mac = [0xcf, 0xfa, 0xed, 0xfe, 0, 0, 0, 1];
        assert!(fits(&mac, "x86_64", "aarch64", "macos") && !fits(&mac, "x86_64", "x86_64", "linux"));
        assert!(!fits(b"echo hello\n", "x86_64", "aarch64", "macos"));
    }

    #[test]
    fn a_file_that_cannot_be_run_has_the_error_of_the_kernel() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bootstrap");
        assert_eq!(check(&file, "x86_64").unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(&file, "echo hello\n").unwrap();
        assert!(check(&file, "x86_64").unwrap_err().to_string().starts_with("Exec format error"));
        assert!(check(&std::env::current_exe().unwrap(), "x86_64").is_ok() || cfg!(not(target_arch = "x86_64")));
    }
}
