//! The runtimes that Lambda manages, and the handlers of their functions (docs/aws.md §7.8).

use std::fmt;

/// The runtimes that a function of files may have.
pub const RUNTIMES: &[&str] = &["python3.12", "python3.13", "python3.14", "nodejs22.x", "nodejs24.x"];

/// The extensions that Lambda looks for in Node.js. TypeScript's are not among them, whatever the version.
const NODE: &[&str] = &[".js", ".mjs", ".cjs", ""];

/// The most characters of a handler.
const LONGEST: usize = 128;

/// A runtime that Lambda manages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runtime(&'static str);

/// The function that a runtime calls: a file without its extension, and a name in it, such as `app.handler`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handler {
    written: String,
    file: String,
}

impl Runtime {
    pub(super) fn named(name: &'static str) -> Runtime {
        Runtime(name)
    }

    fn is_python(self) -> bool {
        self.0.starts_with("python")
    }

    /// Reads a handler.
    ///
    /// Errors: the remedy.
    pub(super) fn handler(self, text: &str) -> Result<Handler, &'static str> {
        const FORM: &str = "write a file of the folder without its extension, a dot and a function in it, such as \
                            app.handler or lib/app.handler";
        let (folders, last): (Vec<&str>, &str) = match text.rsplit_once('/') {
            Some((folders, last)) => (folders.split('/').collect(), last),
            None => (Vec::new(), text),
        };
        // Python takes all dots but the last as those between packages, and Node.js all but the first as those between
        // properties.
        let parts = if self.is_python() { last.rsplit_once('.') } else { last.split_once('.') };
        let Some((file, function)) = parts else { return Err(FORM) };
        let is_name = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control());
        let is_clean = |part: &str| is_name(part) && part != "." && part != "..";
        let names = if self.is_python() { file.split('.').all(is_name) } else { is_name(file) };
        let is_fit = names && function.split('.').all(is_name) && folders.iter().copied().all(is_clean);
        if !is_fit || text.len() > LONGEST {
            return Err(FORM);
        }
        let file = if self.is_python() { file.replace('.', "/") } else { file.to_owned() };
        let path: Vec<&str> = folders.into_iter().chain([file.as_str()]).collect();
        Ok(Handler { written: text.to_owned(), file: path.join("/") })
    }

    /// The files, any of which can have this handler.
    pub fn files_of(self, handler: &Handler) -> Vec<String> {
        if self.is_python() {
            return vec![format!("{}.py", handler.file), format!("{}/__init__.py", handler.file)];
        }
        NODE.iter().map(|extension| format!("{}{extension}", handler.file)).collect()
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_names_the_file_that_has_it() {
        for (runtime, text, expected) in [
            ("python3.13", "app.handler", &["app.py", "app/__init__.py"][..]),
            ("python3.13", "lib/app.handler", &["lib/app.py", "lib/app/__init__.py"]),
            ("python3.13", "lib.app.handler", &["lib/app.py", "lib/app/__init__.py"]),
            ("nodejs24.x", "index.handler", &["index.js", "index.mjs", "index.cjs", "index"]),
            ("nodejs22.x", "lib/index.a.b", &["lib/index.js", "lib/index.mjs", "lib/index.cjs", "lib/index"]),
        ] {
            let runtime = Runtime::named(runtime);
            assert_eq!(runtime.files_of(&runtime.handler(text).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn invalid_handlers_are_refused() {
        let long = format!("app.{}", "x".repeat(LONGEST));
        for text in ["", "app", "app.", ".handler", "a b.handler", "../app.handler", "lib//app.handler", "/app.handler"]
        {
            for runtime in RUNTIMES {
                assert!(Runtime::named(runtime).handler(text).is_err(), "{runtime} {text:?}");
            }
        }
        assert!(Runtime::named("python3.13").handler(&long).is_err());
        assert!(Runtime::named("python3.13").handler("app..handler").is_err());
    }
}
