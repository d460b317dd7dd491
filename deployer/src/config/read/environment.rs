//! The variables of functions and services: texts, and references to values that are kept in AWS.

use super::{Fields, Reader, scalars};
use crate::config::{
    Place, Store, StoredValue, Variables,
    error::did_you_mean,
    tree::{Located, Node},
};

/// Why a variable cannot be set, and what to do instead.
type ReservedNames = fn(&str) -> Option<(&'static str, &'static str)>;

/// The members of a variable that is not just a text.
const MEMBERS: &[&str] = &["secret", "key", "parameter", "value", "sensitive"];

/// The members of each form, by the first of them.
const MEMBERS_OF: &[&[&str]] = &[&["secret", "key"], &["parameter"], &["value", "sensitive"]];

const FORMS: &str = "write a text, { secret: NAME }, { secret: NAME, key: FIELD }, { parameter: NAME } or { value: TEXT, \
                     sensitive: true }";

/// The form of a variable that is a mapping.
enum Form<'v> {
    Stored(StoredValue),
    Value(&'v Located),
}

impl Reader<'_> {
    pub(super) fn environment(&mut self, fields: &Fields<'_>, reserved: ReservedNames) -> Variables {
        let path = fields.path("environment");
        let mut variables = Variables::default();
        let Some(value) = fields.get("environment") else { return variables };
        let Some(entries) = self.map(&path, value) else {
            scalars(value, &mut self.secrets);
            return variables;
        };
        let mut texts = Vec::new();
        for (key, place, value) in entries {
            if let Some((what, help)) = reserved(key) {
                self.problem(*place, format!("`{key}` {what}"), help);
            }
            let Node::Map(members) = &value.node else {
                scalars(value, &mut self.secrets);
                texts.push((key.clone(), *place, value.clone()));
                continue;
            };
            match self.form(&format!("{path}.{key}"), key, value.place, members, &mut variables) {
                Some(Form::Stored(stored)) => drop(variables.stored.insert(key.clone(), stored)),
                Some(Form::Value(text)) => {
                    scalars(text, &mut self.secrets);
                    texts.push((key.clone(), *place, text.clone()));
                }
                None => scalars(value, &mut self.secrets),
            }
        }
        variables.texts = self.named_texts(&path, &texts).into_iter().collect();
        // The names of variables that are not texts follow the same rules.
        for (key, place, _) in entries.iter().filter(|(key, ..)| variables.stored.contains_key(key)) {
            self.check_variable(key, *place);
        }
        variables
    }

    /// Reads a mapping.
    fn form<'v>(
        &mut self,
        path: &str,
        variable: &str,
        place: Place,
        members: &'v [(String, Place, Located)],
        variables: &mut Variables,
    ) -> Option<Form<'v>> {
        if let Some((other, place, _)) = members.iter().find(|(name, _, _)| !MEMBERS.contains(&name.as_str())) {
            let is_form = |form: &&&[&str]| members.iter().any(|(name, _, _)| name == form[0]);
            let known = MEMBERS_OF.iter().find(is_form).map_or(MEMBERS, |form| *form);
            let help = match did_you_mean(other, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known keys: {}", known.join(", ")),
            };
            self.problem(*place, format!("a variable has no `{other}`"), help);
            return None;
        }
        let member = |name: &str| members.iter().find(|(key, _, _)| key == name).map(|(_, _, value)| value);
        match (member("secret"), member("parameter"), member("value")) {
            (Some(name), None, None) if member("sensitive").is_none() => {
                let key = match member("key") {
                    None => None,
                    Some(key) => Some(self.member_key(key)?),
                };
                self.stored_value(path, Store::Secret, name, key).map(Form::Stored)
            }
            (None, Some(name), None) if member("key").is_none() && member("sensitive").is_none() => {
                self.stored_value(path, Store::Parameter, name, None).map(Form::Stored)
            }
            (None, None, Some(value)) if member("key").is_none() => {
                match member("sensitive").map(|it| (&it.node, it.place)) {
                    None | Some((Node::Bool(false), _)) => (),
                    Some((Node::Bool(true), _)) => drop(variables.sensitive.insert(variable.to_owned())),
                    Some((_, place)) => {
                        let message = "`sensitive` should be true or false";
                        self.problem(place, message, "write sensitive: true, without quotes");
                    }
                }
                Some(Form::Value(value))
            }
            _ => {
                self.problem(place, format!("`{variable}` does not say where its value is kept"), FORMS);
                None
            }
        }
    }

    fn stored_value(&mut self, path: &str, store: Store, value: &Located, key: Option<String>) -> Option<StoredValue> {
        let name = self.scalar(value)?;
        self.places.insert(path.to_owned(), value.place);
        match store.check(&name) {
            Ok(()) => Some(StoredValue { store, name, key }),
            Err(help) => {
                let message = format!("{name:?} is not the name of a {}", store.word());
                self.problem(value.place, message, help);
                None
            }
        }
    }

    /// The member of a secret's JSON. It becomes a word of a shell in user data, so quotes and the like are refused.
    fn member_key(&mut self, value: &Located) -> Option<String> {
        let key = self.scalar(value)?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-/@:+".contains(c);
        if key.is_empty() || key.len() > 128 || !key.chars().all(is_plain) {
            let help = "use 1 to 128 letters, digits and _.-/@:+";
            self.problem(value.place, format!("{key:?} is not a key that can be selected"), help);
            return None;
        }
        Some(key)
    }
}
