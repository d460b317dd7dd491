//! The types of values.

/// The type of a value: what a field accepts, and its default.
#[derive(Debug)]
pub enum ValueType {
    /// A name of lower-case letters, digits and hyphens.
    Name,
    /// An AWS region.
    Region,
    /// An account number.
    Account,
    /// Any text.
    Text,
    /// The path of a URL, with the default.
    Path(&'static str),
    /// A text that matches this pattern, with an example.
    Like(&'static str, &'static str),
    /// A block of private addresses, with the default.
    Block(&'static str),
    /// An instance type, such as `t3.micro`.
    InstanceType,
    /// One of these texts; the first is the default.
    OneOf(&'static [&'static str]),
    /// One of these texts, none of which is the default.
    Among(&'static [&'static str]),
    /// One of these numbers.
    OneOfNumbers(&'static [i64]),
    /// A whole number.
    Number {
        /// The minimum.
        least: u16,
        /// The maximum.
        most: u16,
        /// The default, if there is one.
        usual: Option<u16>,
    },
    /// A time in minutes such as `5m`, within these bounds, or 0.
    Minutes {
        /// The minimum, other than 0.
        least: u16,
        /// The maximum.
        most: u16,
        /// The default, for people: it may depend on more than the file.
        usual: &'static str,
    },
    /// `true` or `false`; `false` by default.
    Switch,
    /// HTTP statuses: one, a range, or several; with the default.
    Statuses(&'static str),
    /// A list of texts, which may be empty.
    Texts,
    /// A non-empty list of texts, with the default.
    SomeTexts(&'static str),
    /// A non-empty list of these texts.
    SomeOf(&'static [&'static str]),
    /// Tags by their keys.
    Tags,
    /// Variables; the permitted names depend on their purpose.
    Variables(Variables),
    /// Entries of another section with the access to each.
    Accesses,
    /// Texts by the names of headers.
    Headers,
    /// Any value, whose texts may have variables.
    Value,
    /// Values by JSON pointers.
    Values,
    /// A mapping with fields of its own.
    Fields,
    /// A text or a mapping; the text is shorthand for the mapping's first field.
    TextOrFields,
    /// One of these texts, or a mapping.
    WordOrFields(&'static [&'static str]),
    /// Entries with names chosen by the user and fields of their own; the text describes one entry.
    Entries(&'static str),
}

/// The purpose of variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variables {
    /// A function's: Lambda reserves some.
    Function,
    /// A service's: the deployer sets `PORT`.
    Service,
    /// The outputs of a stack, which have no reserved names.
    Outputs,
}

impl ValueType {
    /// The value of a text, or the only item of a list, that is left out.
    pub fn usual_text(&self) -> &'static str {
        match *self {
            ValueType::Path(usual)
            | ValueType::Statuses(usual)
            | ValueType::SomeTexts(usual)
            | ValueType::Block(usual) => usual,
            ValueType::OneOf(texts) => texts.first().copied().unwrap_or_default(),
            _ => "",
        }
    }

    /// What a field of this type accepts, as the reference says it.
    pub(super) fn words(&self) -> String {
        let listed = |texts: &[&str]| texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ");
        match self {
            ValueType::Name => "a name: lower-case letters, digits, hyphens".into(),
            ValueType::Region => "a region, such as `us-east-1`".into(),
            ValueType::Account => "twelve digits, in quotes".into(),
            ValueType::Text => "text".into(),
            ValueType::Path(usual) => format!("a path (`{usual}`)"),
            ValueType::Like(_, example) => format!("text, such as `{example}`"),
            ValueType::Block(usual) => format!("an IPv4 block (`{usual}`)"),
            ValueType::InstanceType => "an instance type, such as `t3.micro`".into(),
            ValueType::OneOf(texts) => format!("{} (`{}`)", listed(texts), texts[0]),
            ValueType::Among(texts) => listed(texts),
            ValueType::OneOfNumbers(numbers) => numbers.iter().map(i64::to_string).collect::<Vec<_>>().join(", "),
            ValueType::Number { least, most, usual: Some(usual) } => format!("{least} to {most} ({usual})"),
            ValueType::Number { least, most, usual: None } => format!("{least} to {most}"),
            ValueType::Minutes { least, most, usual } => format!("`{least}m` to `{most}m`, or `0` ({usual})"),
            ValueType::Switch => "`true` or `false` (`false`)".into(),
            ValueType::Statuses(usual) => format!("statuses (`{usual}`)"),
            ValueType::Texts => "a list of texts".into(),
            ValueType::SomeTexts(usual) => format!("a list of texts (`[\"{usual}\"]`)"),
            ValueType::SomeOf(texts) => format!("a list of {}", listed(texts)),
            ValueType::Tags => "texts by key".into(),
            ValueType::Variables(_) => "texts by name".into(),
            ValueType::Accesses => "`read`, `write` or `read_write` by entry".into(),
            ValueType::Headers => "texts by header".into(),
            ValueType::Value => "any value".into(),
            ValueType::Values => "values by JSON pointer".into(),
            ValueType::Fields => "the fields below".into(),
            ValueType::TextOrFields => "a text, or the fields below".into(),
            ValueType::WordOrFields(words) => format!("{}, or the fields below", listed(words)),
            ValueType::Entries(_) => "entries with names of your choice".into(),
        }
    }
}
