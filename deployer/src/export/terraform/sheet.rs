//! The configuration as it grows, resource by resource.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use super::hcl::{Block, Body, Expr};
use crate::engine::{Address, Owner, Tags};

/// A resource that the first plan counts among those to change, with the reason.
pub type Mark = (&'static str, &'static str);

/// Variables that may be secret.
const SENSITIVE: Mark =
    ("function", "Terraform marks variables that may be secret as sensitive. Nothing is sent to AWS.");

/// The folder of programs and user data, beside the configuration.
pub const FILES: &str = "files";

/// The suffixes of the names in [`FILES`]: programs of functions, programs of services, and user data, which may hold
/// secrets.
pub(super) const ARCHIVE: &str = ".zip";
pub(super) const PROGRAM: &str = "-program";
pub(super) const USER_DATA: &str = "-user-data.yaml";

/// Whether a file in [`FILES`] is that of an export, by its name.
pub fn is_of_export(name: &str) -> bool {
    [ARCHIVE, PROGRAM, USER_DATA].iter().any(|ending| name.ends_with(ending))
}

/// The configuration of a stack, as far as it is written.
#[derive(Debug, Default)]
pub struct Sheet {
    /// The blocks of each file.
    pub(super) blocks: BTreeMap<String, Vec<Block>>,
    pub(super) imports: Vec<Block>,
    pub(super) variables: BTreeMap<String, Block>,
    /// The values of variables that may be secret.
    pub(super) secrets: BTreeMap<String, Expr>,
    /// The resources that the first plan counts among those to change, although AWS stays as it is.
    pub(super) marked: BTreeMap<String, Mark>,
    /// Files besides the configuration, below [`FILES`].
    pub(super) files: Vec<File>,
    /// Notes on what the configuration leaves out.
    pub(super) left_out: Vec<String>,
    /// Expressions for the texts that identify resources, by name space and text. The name space is empty for ids, ARNs
    /// and values in programs' variables.
    known: BTreeMap<(&'static str, String), String>,
    /// The addresses of Terraform that are taken.
    taken: BTreeSet<(String, String)>,
    subject: Subject,
}

/// The resource that is being written.
#[derive(Debug, Default)]
struct Subject {
    label: String,
    section: String,
    tags: Tags,
}

/// A file besides the configuration.
#[derive(Debug)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Its contents.
    pub contents: Vec<u8>,
    /// Whether it may hold secrets.
    pub is_secret: bool,
}

impl Sheet {
    /// Begins with the next resource of the stack.
    pub fn begin(&mut self, address: &Address, owner: &Owner) {
        let mut tags = match owner {
            Owner::Tags(tags) => tags.clone(),
            Owner::Parent | Owner::Other(_) => Tags::new(),
        };
        // AWS's own cannot be written.
        tags.retain(|key, _| !key.starts_with("aws:"));
        self.subject = Subject { label: identifier(&address.key), section: address.section.clone(), tags };
    }

    /// The name of the present resource in Terraform's addresses.
    pub fn label(&self) -> String {
        self.subject.label.clone()
    }

    /// The tags of the present resource, as an argument.
    pub fn tags(&self) -> Expr {
        map(&self.subject.tags)
    }

    /// The tags of the present resource.
    pub fn each_tag(&self) -> &Tags {
        &self.subject.tags
    }

    /// Adds a resource of this type, which exists under this id, with the label of the present one. Returns its address.
    pub fn add(&mut self, kind: &str, id: &str, body: Body) -> String {
        self.add_as(kind, &self.label(), id, body)
    }

    /// The same with another label. A label that is taken gets a number.
    pub fn add_as(&mut self, kind: &str, label: &str, id: &str, body: Body) -> String {
        let numbered = (2..).map(|number| format!("{label}_{number}"));
        let mut free = std::iter::once(label.to_owned()).chain(numbered);
        let label = free.find(|label| self.taken.insert((kind.to_owned(), label.clone()))).expect("numbers do not end");
        let address = format!("{kind}.{label}");
        let file = self.subject.section.split('.').next().unwrap_or_default();
        let file = if file.is_empty() { "secrets" } else { file };
        let block = Block::new("resource", &[kind, &label], body);
        self.blocks.entry(format!("{file}.tf")).or_default().push(block);
        let import = Body::new().set("to", Expr::raw(&address)).text("id", id);
        self.imports.push(Block::new("import", &[], import));
        address
    }

    /// Writes this id, ARN or name as this expression, wherever it is referred to.
    pub fn know(&mut self, text: &str, expression: impl Into<String>) {
        self.know_as("", text, expression);
    }

    /// Writes this name of a kind as this expression.
    pub fn know_as(&mut self, space: &'static str, text: &str, expression: impl Into<String>) {
        if !text.is_empty() {
            self.known.entry((space, text.to_owned())).or_insert(expression.into());
        }
    }

    /// The expression for this name of a kind, or else another text.
    pub fn known_or(&self, space: &'static str, name: &str, other: &str) -> Expr {
        self.known.get(&(space, name.to_owned())).map_or_else(|| Expr::text(other), Expr::raw)
    }

    /// Every resource of this type so far.
    pub fn all_of(&self, kind: &str) -> Vec<Expr> {
        let these = self.taken.iter().filter(|(taken, _)| taken == kind);
        these.map(|(kind, label)| Expr::raw(format!("{kind}.{label}"))).collect()
    }

    /// Returns the expression for a text that identifies a resource, or that begins with the ARN of one; otherwise the
    /// text.
    fn resolved(&self, space: &'static str, text: &str) -> Expr {
        if let Some(expression) = self.known.get(&(space, text.to_owned())) {
            return Expr::raw(expression);
        }
        let begins = |known: &str| {
            let rest = text.strip_prefix(known).filter(|_| known.starts_with("arn:"));
            rest.filter(|rest| rest.starts_with(['/', ':']))
        };
        let all = self.known.iter().filter(|((space, _), _)| space.is_empty());
        let prefixes = all.filter_map(|((_, known), expression)| Some((known, expression, begins(known)?)));
        match prefixes.max_by_key(|(known, ..)| known.len()) {
            Some((_, expression, rest)) => Expr::Prefixed(expression.clone(), rest.to_owned()),
            None => Expr::text(text),
        }
    }

    /// Resolves all references, once every resource is known.
    pub fn close(&mut self) {
        let mut blocks = std::mem::take(&mut self.blocks);
        let link = |space: &'static str, text: &str| self.resolved(space, text);
        blocks.values_mut().flatten().for_each(|block| block.resolve(&link));
        self.blocks = blocks;
    }

    /// A setting of `stack.yaml`, as a variable with its present value. `field` is the path below the entry.
    pub fn setting(&mut self, field: &str, kind: &'static str, value: Expr) -> Expr {
        let place = format!("{}.{field}", self.subject.section);
        let name = self.variable_name(field);
        let about = format!("{place} of stack.yaml");
        let body = Body::new().text("description", &about).set("type", Expr::raw(kind)).set("default", value);
        self.variables.insert(name.clone(), Block::new("variable", &[&name], body));
        Expr::raw(format!("var.{name}"))
    }

    /// A value that may be secret, as a variable without a default.
    pub fn secret(&mut self, field: &str, value: &str) -> Expr {
        let place = format!("{}.{field}", self.subject.section);
        let name = self.variable_name(field);
        let body = Body::new()
            .text("description", &format!("{place} of stack.yaml"))
            .set("type", Expr::raw("string"))
            .flag("sensitive", true);
        self.variables.insert(name.clone(), Block::new("variable", &[&name], body));
        self.secrets.insert(name.clone(), Expr::text(value));
        self.mark(&self.subject.section.clone(), SENSITIVE);
        Expr::raw(format!("var.{name}"))
    }

    /// Counts a resource among those that the first plan changes.
    pub fn mark(&mut self, resource: &str, why: Mark) {
        self.marked.insert(resource.to_owned(), why);
    }

    /// `services.web` and `instances.min` make `service_web_instances_min`.
    fn variable_name(&self, field: &str) -> String {
        let (section, entry) = self.subject.section.split_once('.').unwrap_or(("stack", &self.subject.section));
        let section = section.strip_suffix('s').unwrap_or(section);
        identifier(&format!("{section}_{entry}_{field}"))
    }

    /// Adds a file beside the configuration. Returns the expression for its path.
    pub fn file(&mut self, name: &str, contents: Vec<u8>, is_secret: bool) -> Expr {
        let path = format!("{FILES}/{name}");
        self.files.push(File { name: name.to_owned(), contents, is_secret });
        Expr::raw(format!("\"${{path.module}}/{path}\""))
    }

    /// Names something that the configuration leaves out.
    pub fn leave_out(&mut self, what: impl Into<String>) {
        self.left_out.push(what.into());
    }
}

impl File {
    /// Its path below the folder of the configuration.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(FILES).join(&self.name)
    }
}

/// A text that may refer to a resource, or begin with its ARN.
pub fn link(text: &str) -> Expr {
    Expr::Link("", text.to_owned())
}

/// A name of a kind.
pub fn link_as(space: &'static str, name: &str) -> Expr {
    Expr::Link(space, name.to_owned())
}

/// A JSON document, with references in it.
pub fn json(document: &serde_json::Value) -> Expr {
    Expr::Call("jsonencode", Box::new(Expr::json(document, &link)))
}

/// An object of texts.
pub fn map(entries: &Tags) -> Expr {
    Expr::Map(entries.iter().map(|(key, value)| (key.clone(), Expr::text(value))).collect())
}

/// A Terraform name derived from ours. Names in `stack.yaml` contain no underscores, so the derived names stay
/// distinct.
pub fn identifier(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    let name = name.trim_start_matches('_');
    match name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        true => name.to_owned(),
        false => format!("_{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let mut sheet = Sheet::default();
        sheet.know("arn:aws:s3:::app-images", "aws_s3_bucket.images.arn");
        sheet.know("arn:aws:s3:::app-images-2", "aws_s3_bucket.images_2.arn");
        sheet.know("app-images", "aws_s3_bucket.images.bucket");
        sheet.know_as("role", "app-web", "aws_iam_role.web.name");
        sheet
    }

    #[test]
    fn what_is_known_is_referred_to() {
        let sheet = sheet();
        for (text, written) in [
            ("app-images", Expr::raw("aws_s3_bucket.images.bucket")),
            ("app-images/x", Expr::text("app-images/x")),
            ("arn:aws:s3:::app-images/*", Expr::Prefixed("aws_s3_bucket.images.arn".into(), "/*".into())),
            ("arn:aws:s3:::app-images-2/*", Expr::Prefixed("aws_s3_bucket.images_2.arn".into(), "/*".into())),
            ("arn:aws:s3:::app-images-3/*", Expr::text("arn:aws:s3:::app-images-3/*")),
        ] {
            assert_eq!(sheet.resolved("", text), written, "{text}");
        }
        assert_eq!(sheet.resolved("role", "app-web"), Expr::raw("aws_iam_role.web.name"));
        assert_eq!(sheet.resolved("", "app-web"), Expr::text("app-web"));
    }

    #[test]
    fn labels_and_variables_are_identifiers_and_labels_are_unique() {
        for (name, label) in [("web-lb", "web_lb"), ("/app/db", "app_db"), ("1st", "_1st"), ("é", "_"), ("", "_")] {
            assert_eq!(identifier(name), label);
        }
        let mut sheet = sheet();
        let address = Address { kind: "service", key: "web-2".into(), section: "services.web-2".into() };
        sheet.begin(&address, &Owner::Parent);
        assert_eq!(sheet.add("aws_lb", "a", Body::new()), "aws_lb.web_2");
        assert_eq!(sheet.add("aws_lb", "b", Body::new()), "aws_lb.web_2_2");
        let setting = sheet.setting("instances.min", "number", Expr::int(1));
        assert_eq!(setting, Expr::raw("var.service_web_2_instances_min"));
    }
}
