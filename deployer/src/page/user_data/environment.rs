//! The environment file of the service.

use super::{Error, UserData};

impl UserData {
    /// One line per variable. `PORT` is always the target group's port, even if `environment` sets it.
    pub(super) fn environment_file(&self) -> Result<String, Error> {
        let mut variables = self.environment.clone();
        variables.insert("PORT".into(), self.port.to_string());
        variables.iter().map(|(name, value)| assignment(name, value)).collect()
    }
}

/// One variable as systemd reads it: in double quotes, where only the quote and the backslash are escaped; `$` and `%`
/// have no special meaning in an environment file.
pub(super) fn assignment(name: &str, value: &str) -> Result<String, Error> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(is_name) {
        return Err(Error::Name { name: name.into() });
    }
    if let Some(character) = value.chars().find(|&c| breaks_a_line(c)) {
        return Err(Error::Value { name: name.into(), character });
    }
    let value = value.replace('\\', r"\\").replace('"', "\\\"");
    Ok(format!("{name}=\"{value}\"\n"))
}

/// Whether YAML would end the line here or reject the character. cloud-init's parser treats more characters as line
/// breaks than YAML 1.2 does.
fn breaks_a_line(c: char) -> bool {
    (c.is_control() && c != '\t') || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') || is_noncharacter(c)
}

/// Whether Unicode reserves the code point for no character. systemd takes it for invalid UTF-8 (docs/aws.md §23.3).
pub fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}
