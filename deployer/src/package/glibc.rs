//! Requirements of a Linux program: its architecture and its C library.

use object::{
    Endianness,
    elf::{self, FileHeader64},
    read::elf::{FileHeader, SectionTable},
};

use super::Architecture;

/// A version of glibc, such as `(2, 34)`.
pub type Version = (u16, u16);

/// Why a program cannot start on its target platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is a script, or not a 64-bit ELF file.
    #[error("it is not a 64-bit Linux program")]
    NotElf,
    /// Its ELF file is damaged.
    #[error("its ELF file is damaged: {0}")]
    Damaged(String),
    /// It is an object file or a library.
    #[error("it is a library, not a program")]
    NotExecutable,
    /// It is for another processor.
    #[error("it was built for {built}, and {wanted} is wanted")]
    Architecture {
        /// The processor it was built for.
        built: String,
        /// The processor it should run on.
        wanted: &'static str,
    },
    /// It needs a newer C library than the platform has.
    #[error("it needs GLIBC_{}.{} ({library}), and there is only {}.{}", .needs.0, .needs.1, .most.0, .most.1)]
    Glibc {
        /// The newest version it needs.
        needs: Version,
        /// The library that defines it.
        library: String,
        /// The platform's version.
        most: Version,
    },
}

/// Rejects files other than Linux programs for this processor.
pub fn require_architecture(program: &[u8], wanted: Architecture) -> Result<(), Unfit> {
    let header = header(program)?;
    let endian = header.endian().map_err(damaged)?;
    let machine = header.e_machine(endian);
    let built = match machine {
        elf::EM_X86_64 => Some(Architecture::X86_64),
        elf::EM_AARCH64 => Some(Architecture::Arm64),
        _ => None,
    };
    if built != Some(wanted) {
        return Err(Unfit::Architecture {
            built: built.map_or(format!("machine {}", machine.0), |built| built.name().into()),
            wanted: wanted.name(),
        });
    }
    match header.e_type(endian) {
        // Shared libraries and position-independent programs have the same ELF type; only programs have an entry point.
        elf::ET_EXEC | elf::ET_DYN if header.e_entry(endian) != 0 => Ok(()),
        _ => Err(Unfit::NotExecutable),
    }
}

/// Rejects a program that needs a newer glibc than `most`: the loader would refuse to start it.
pub fn require_glibc(program: &[u8], most: Version) -> Result<(), Unfit> {
    match newest_glibc(program)? {
        Some((needs, library)) if needs > most => Err(Unfit::Glibc { needs, library, most }),
        _ => Ok(()),
    }
}

/// Returns the newest glibc version among the symbols of `.gnu.version_r`, and the library that defines it. `None` for
/// a static program.
fn newest_glibc(program: &[u8]) -> Result<Option<(Version, String)>, Unfit> {
    let header = header(program)?;
    let endian = header.endian().map_err(damaged)?;
    let sections = header.sections(endian, program).map_err(damaged)?;
    let mut newest = None;
    for (library, symbol_version) in needed(&sections, endian, program)? {
        let version = glibc_version(&symbol_version).map(|version| (version, library));
        newest = newest.max(version);
    }
    Ok(newest)
}

/// `(library, symbol version)` for everything that the loader checks before the program starts.
fn needed(
    sections: &SectionTable<'_, FileHeader64<Endianness>>,
    endian: Endianness,
    program: &[u8],
) -> Result<Vec<(String, String)>, Unfit> {
    let mut found = Vec::new();
    let Some((mut libraries, strings)) = sections.gnu_verneed(endian, program).map_err(damaged)? else {
        return Ok(found);
    };
    let strings = sections.strings(endian, program, strings).map_err(damaged)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    while let Some((library, mut versions)) = libraries.next().map_err(damaged)? {
        let library = text(library.file(endian, strings).map_err(damaged)?);
        while let Some(version) = versions.next().map_err(damaged)? {
            let version = text(version.name(endian, strings).map_err(damaged)?);
            found.push((library.clone(), version));
        }
    }
    Ok(found)
}

/// Parses `GLIBC_2.17` and `GLIBC_2.2.5`; not `GLIBC_PRIVATE` or versions of other libraries.
fn glibc_version(symbol_version: &str) -> Option<Version> {
    let mut numbers = symbol_version.strip_prefix("GLIBC_")?.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some((major, minor))
}

fn header(program: &[u8]) -> Result<&FileHeader64<Endianness>, Unfit> {
    FileHeader64::<Endianness>::parse(program).map_err(|_| Unfit::NotElf)
}

fn damaged(error: object::read::Error) -> Unfit {
    Unfit::Damaged(error.to_string())
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    const HERE: Architecture = match cfg!(target_arch = "aarch64") {
        true => Architecture::Arm64,
        false => Architecture::X86_64,
    };
    const ELSEWHERE: Architecture = match HERE {
        Architecture::Arm64 => Architecture::X86_64,
        Architecture::X86_64 => Architecture::Arm64,
    };

    /// This test's own program.
    fn program() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn a_program_of_this_machine_is_for_this_architecture_alone() {
        assert_eq!(require_architecture(&program(), HERE), Ok(()));
        assert_eq!(
            require_architecture(&program(), ELSEWHERE),
            Err(Unfit::Architecture { built: HERE.name().into(), wanted: ELSEWHERE.name() })
        );
    }

    #[test]
    fn the_newest_glibc_is_found_and_named() {
        let (needs, library) = newest_glibc(&program()).unwrap().unwrap();
        assert!(needs >= (2, 17), "Rust needs at least that: {needs:?}");
        assert_eq!(require_glibc(&program(), needs), Ok(()));
        let refused = require_glibc(&program(), (2, 0)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("it needs GLIBC_{}.{} ({library}), and there is only 2.0", needs.0, needs.1)
        );
    }

    #[test]
    fn a_text_file_is_no_program() {
        for text in [&b"#!/bin/sh\necho labels\n"[..], b"", b"\x7fELF"] {
            assert_eq!(require_architecture(text, HERE), Err(Unfit::NotElf));
            assert_eq!(require_glibc(text, (2, 34)), Err(Unfit::NotElf));
        }
    }

    #[test]
    fn a_truncated_program_is_damaged() {
        let program = program();
        let half = &program[..program.len() / 2];
        assert!(matches!(require_glibc(half, (2, 34)), Err(Unfit::Damaged(_))));
    }

    #[test]
    fn a_file_without_an_entry_point_is_a_library() {
        let mut library = program();
        library[24..32].fill(0); // e_entry
        assert_eq!(require_architecture(&library, HERE), Err(Unfit::NotExecutable));
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(glibc_version("GLIBC_2.2.5"), Some((2, 2)));
        assert!(glibc_version("GLIBC_2.9") < glibc_version("GLIBC_2.34"));
        assert_eq!(glibc_version("GLIBC_PRIVATE"), None);
        assert_eq!(glibc_version("GCC_3.0"), None);
    }
}
