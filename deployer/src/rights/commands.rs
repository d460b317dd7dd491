//! The rights that each command needs.

mod purposes;

use std::collections::BTreeSet;

use super::{
    KINDS,
    On::*,
    Right,
    kinds::{CERTIFICATES, OfKind, RECORDS},
    right,
};
use crate::{
    config::{ChosenNetwork, Config, Store},
    engine::Inputs as _,
    page::Page,
};

use Deed::{Change, List, Loss, Read, Remove, Tag, Tidy};
use purposes::{
    ADDRESSES, BLOCKS, CHANGE_WEB_ACL, DOCTOR, DOMAINS, ENCRYPT_ENVIRONMENT, ENCRYPT_TABLE, FIND_CERTIFICATES,
    FIND_RULES, FUNCTION_RELEASES, GARBAGE_COLLECTION, HEALTH, IMAGES, LEASE, LIST_STORED, NETWORK, PAUSE,
    QUOTA_OF_FUNCTIONS, QUOTA_OF_TABLES, READ_ENVIRONMENT, READ_ROWS, READ_WEB_ACL, READERS, REGIONS, RELEASES,
    REMOVE_CERTIFICATES, REMOVE_RULES, REMOVE_STORED, RESTORE, ROLL_OUT, ROUTES, RULES, SET_STORED, SIMULATE, SIZES,
    STATUS_SERVICES, STORED_PARAMETERS, STORED_SECRETS, TRIED_NETWORK, WHY_FUNCTIONS, WHY_SERVICES,
};

/// The rights of a command.
#[derive(Debug)]
pub struct Needs {
    /// Its name.
    pub command: &'static str,
    /// Its operations on resources.
    deeds: &'static [Deed],
    /// The resources that it operates on.
    which: Which,
    /// The rights for everything else.
    parts: &'static [&'static [Part]],
}

/// An operation of a command on resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    List,
    Read,
    Loss,
    /// Adding only the ownership tags.
    Tag,
    Change,
    /// Removing what `stack.yaml` no longer describes.
    Tidy,
    /// Removing the whole stack.
    Remove,
}

/// The resources that a command deals with. Resources of every kind are listed, whatever `stack.yaml` describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// None.
    None,
    /// The resources that `stack.yaml` describes.
    Described,
    /// The resources that its outputs need.
    Outputs,
    /// The resources that the addresses of its services need.
    Addresses,
    /// The resources that the requests of `verify` need.
    Verified,
    /// The resources of every stack.
    OfAllStacks,
}

/// Rights that depend on what `stack.yaml` describes.
#[derive(Debug)]
struct Part {
    given: Given,
    rights: &'static [Right],
}

#[derive(Debug, Clone, Copy)]
enum Given {
    Always,
    Services,
    Functions,
    Buckets,
    Tables,
    /// Services in a network that `stack.yaml` names.
    NamedNetwork,
    /// A service with an internal load balancer in a network that `stack.yaml` names.
    InternalInNamedNetwork,
    /// Services in a network that is looked for: the default one, or one that the stack makes.
    FoundNetwork,
    /// Services in a network that the stack makes.
    OwnNetwork,
    /// A service without a load balancer.
    Direct,
    /// A service behind the load balancer of another one.
    Behind,
    /// A service that says which web ACL its load balancer has.
    WebAcl,
    /// A service that names its machine image.
    Image,
    /// A service with a domain.
    Domain,
    /// A service with a domain, for which a certificate is requested.
    Requested,
    /// A variable whose value is in Secrets Manager.
    Secrets,
    /// A variable whose value is in Parameter Store.
    Parameters,
    /// A function with a key.
    KeyOfFunction,
    /// A table with a key.
    KeyOfTable,
}

const fn part(given: Given, rights: &'static [Right]) -> Part {
    Part { given, rights }
}

const fn command(
    command: &'static str,
    deeds: &'static [Deed],
    which: Which,
    parts: &'static [&'static [Part]],
) -> Needs {
    Needs { command, deeds, which, parts }
}

/// A command that calls no AWS, or any AWS but the one on this machine.
const fn offline(name: &'static str) -> Needs {
    command(name, &[], Which::None, &[])
}

/// The operations of `up` on resources.
const UP_DEEDS: &[Deed] = &[List, Read, Loss, Change, Tidy];

/// The permissions of every command that lays out the stack: for the default network, the domains of services, and what
/// is encrypted with keys.
const SITE: &[Part] = &[
    part(Given::FoundNetwork, NETWORK),
    part(Given::InternalInNamedNetwork, BLOCKS),
    part(Given::Domain, DOMAINS),
    part(Given::Requested, CERTIFICATES),
    part(Given::KeyOfFunction, READ_ENVIRONMENT),
    part(Given::KeyOfTable, READ_ROWS),
];

/// Reading web ACLs, where services have any.
const WEB_ACLS: &[Part] = &[part(Given::WebAcl, READ_WEB_ACL)];

/// The permissions of commands that check a network that `stack.yaml` names.
const CHECKED: &[Part] = &[part(Given::NamedNetwork, NETWORK), part(Given::NamedNetwork, ROUTES)];

/// The other permissions of `up`.
const UP: &[Part] = &[
    part(Given::Image, IMAGES),
    part(Given::WebAcl, READ_WEB_ACL),
    part(Given::WebAcl, CHANGE_WEB_ACL),
    part(Given::Secrets, STORED_SECRETS),
    part(Given::Parameters, STORED_PARAMETERS),
    part(Given::KeyOfFunction, ENCRYPT_ENVIRONMENT),
    part(Given::KeyOfTable, ENCRYPT_TABLE),
    part(Given::Always, LEASE),
    part(Given::Always, FIND_RULES),
    part(Given::Services, HEALTH),
    part(Given::Services, WHY_SERVICES),
    part(Given::Direct, ADDRESSES),
    part(Given::Services, GARBAGE_COLLECTION),
    part(Given::Services, REMOVE_CERTIFICATES),
    part(Given::Services, REMOVE_RULES),
];

/// The table, in the order of `deployer --help`. A command without a row, and a right that its command does not use, fail
/// `deployer/tests/testsuite/permissions.rs`.
pub const COMMANDS: &[Needs] = &[
    command("up", UP_DEEDS, Which::Described, &[SITE, CHECKED, UP]),
    command(
        "plan",
        &[List, Read, Loss],
        Which::Described,
        &[
            SITE,
            CHECKED,
            &[
                part(Given::Image, IMAGES),
                part(Given::WebAcl, READ_WEB_ACL),
                part(Given::Secrets, STORED_SECRETS),
                part(Given::Parameters, STORED_PARAMETERS),
                part(Given::Services, FIND_CERTIFICATES),
                part(Given::Always, FIND_RULES),
            ],
        ],
    ),
    command(
        "adopt",
        &[Read, Tag],
        Which::Described,
        &[
            SITE,
            CHECKED,
            &[
                part(Given::Image, IMAGES),
                part(Given::WebAcl, READ_WEB_ACL),
                part(Given::Secrets, STORED_SECRETS),
                part(Given::Parameters, STORED_PARAMETERS),
            ],
        ],
    ),
    offline("cost"),
    command(
        "status",
        &[List, Read, Loss],
        Which::Described,
        &[
            SITE,
            &[
                part(Given::Services, STATUS_SERVICES),
                part(Given::WebAcl, READ_WEB_ACL),
                part(Given::Services, FIND_CERTIFICATES),
                part(Given::Always, FIND_RULES),
                part(Given::Functions, WHY_FUNCTIONS),
                part(Given::Buckets, &[right("s3:ListBucket", Buckets)]),
                part(Given::Tables, &[right("dynamodb:DescribeTable", Tables)]),
                part(Given::Secrets, STORED_SECRETS),
                part(Given::Parameters, STORED_PARAMETERS),
            ],
        ],
    ),
    command(
        "why",
        &[],
        Which::None,
        &[
            SITE,
            &[
                part(Given::Services, WHY_SERVICES),
                part(Given::Direct, ADDRESSES),
                part(Given::Behind, RULES),
                part(Given::Functions, WHY_FUNCTIONS),
                part(Given::Secrets, STORED_SECRETS),
                part(Given::Parameters, STORED_PARAMETERS),
            ],
        ],
    ),
    command(
        "history",
        &[],
        Which::None,
        &[SITE, &[part(Given::Services, RELEASES), part(Given::Functions, FUNCTION_RELEASES)]],
    ),
    command(
        "rollback",
        &[],
        Which::None,
        &[
            SITE,
            &[
                part(Given::Services, RELEASES),
                part(Given::Services, ROLL_OUT),
                part(Given::Always, LEASE),
                part(Given::Services, HEALTH),
                part(Given::Services, WHY_SERVICES),
                part(Given::Direct, ADDRESSES),
                part(Given::Behind, RULES),
                part(Given::Functions, FUNCTION_RELEASES),
                part(Given::Functions, RESTORE),
                part(Given::KeyOfFunction, ENCRYPT_ENVIRONMENT),
                // For earlier releases, whose values stack.yaml may no longer name.
                part(Given::Always, STORED_SECRETS),
                part(Given::Always, STORED_PARAMETERS),
            ],
        ],
    ),
    command(
        "pause",
        &[],
        Which::None,
        &[&[part(Given::Services, PAUSE), part(Given::Services, RECORDS), part(Given::Services, LEASE)]],
    ),
    command("resume", UP_DEEDS, Which::Described, &[SITE, CHECKED, UP]),
    command(
        "logs",
        &[],
        Which::None,
        &[&[
            part(Given::Functions, &[right("logs:FilterLogEvents", LogGroups)]),
            part(
                Given::Services,
                &[
                    right("logs:FilterLogEvents", LogGroups),
                    right("s3:GetObject", Reports),
                    right("s3:ListBucket", Artifacts),
                ],
            ),
        ]],
    ),
    command(
        "invoke",
        &[],
        Which::None,
        &[&[part(
            Given::Functions,
            &[
                right("lambda:GetFunction", Functions),
                right("lambda:InvokeFunction", Functions),
                right("lambda:ListTags", Functions),
                // For `--sample`.
                right("s3:GetObject", Objects),
            ],
        )]],
    ),
    command("open", &[Read], Which::Addresses, &[SITE, WEB_ACLS]),
    command("verify", &[Read], Which::Verified, &[SITE, WEB_ACLS]),
    command(
        "down",
        &[List, Read, Loss, Remove],
        Which::Described,
        &[
            SITE,
            &[
                part(Given::Always, LEASE),
                part(Given::Always, REMOVE_STORED),
                part(Given::WebAcl, READ_WEB_ACL),
                part(Given::Always, FIND_RULES),
                part(Given::Services, REMOVE_CERTIFICATES),
                part(Given::Services, REMOVE_RULES),
            ],
        ],
    ),
    command(
        "secret",
        &[],
        Which::None,
        &[&[
            part(Given::Always, SET_STORED),
            part(Given::Always, REMOVE_STORED),
            part(Given::Always, READERS),
            part(Given::KeyOfFunction, READ_ENVIRONMENT),
        ]],
    ),
    command("outputs", &[Read], Which::Outputs, &[SITE, WEB_ACLS]),
    command(
        "export",
        &[List, Read],
        Which::Described,
        &[
            SITE,
            &[
                part(Given::Services, &[right("ec2:DescribeSecurityGroupRules", Any)]),
                part(Given::WebAcl, READ_WEB_ACL),
                part(Given::Always, FIND_RULES),
                part(Given::Always, LIST_STORED),
                part(Given::Always, STORED_SECRETS),
            ],
        ],
    ),
    command(
        "ls",
        &[List],
        Which::OfAllStacks,
        &[&[part(Given::Always, REGIONS), part(Given::Always, SIZES), part(Given::Always, LIST_STORED)]],
    ),
    offline("policy"),
    offline("schema"),
    command(
        "doctor",
        &[Read],
        Which::Described,
        &[
            SITE,
            CHECKED,
            &[
                part(Given::Always, REGIONS),
                part(Given::Always, SIMULATE),
                part(Given::Services, DOCTOR),
                part(Given::WebAcl, READ_WEB_ACL),
                part(Given::OwnNetwork, TRIED_NETWORK),
                part(Given::Tables, QUOTA_OF_TABLES),
                part(Given::Functions, QUOTA_OF_FUNCTIONS),
            ],
        ],
    ),
    offline("init"),
    offline("validate"),
    offline("graph"),
    offline("completions"),
    offline("man"),
    offline("local"),
];

impl Needs {
    /// Whether its rights are for every stack of the account, in every region.
    pub fn is_for_all_stacks(&self) -> bool {
        self.which == Which::OfAllStacks
    }

    /// Its rights for what `stack.yaml` describes.
    pub fn rights(&self, config: &Config, page: &Page) -> Vec<Right> {
        let kinds = self.which.kinds(page);
        let of_kind = |kind: &'static OfKind, deed: Deed| -> &'static [Right] {
            match deed {
                List => kind.list,
                _ if !kinds.contains(kind.kind) => &[],
                Read => kind.read,
                Loss => kind.loss,
                Tag => kind.tag,
                Change => kind.change,
                Tidy if kind.list.is_empty() => &[],
                Tidy | Remove => kind.remove,
            }
        };
        let deeds = KINDS.iter().flat_map(|kind| self.deeds.iter().flat_map(move |deed| of_kind(kind, *deed)));
        let parts =
            self.parts.iter().copied().flatten().filter(|part| part.given.holds(config)).flat_map(|part| part.rights);
        deeds.chain(parts).copied().collect()
    }
}

impl Which {
    fn kinds(self, page: &Page) -> BTreeSet<&'static str> {
        let stack = &page.stack;
        let nodes = match self {
            Which::None | Which::OfAllStacks => BTreeSet::new(),
            Which::Described => stack.all(),
            Which::Outputs => page.needed_by_outputs(),
            Which::Verified => stack.with_needs(
                page.services
                    .iter()
                    .flat_map(|front| front.url.needs())
                    .chain(page.verify.values().flat_map(|wire| wire.needs())),
            ),
            Which::Addresses => stack.with_needs(page.services.iter().flat_map(|front| front.url.needs())),
        };
        let all = stack.dependencies();
        nodes.into_iter().map(|node| all[node].0.kind).collect()
    }
}

impl Given {
    fn holds(self, config: &Config) -> bool {
        match self {
            Given::Always => true,
            Given::Services => !config.services.is_empty(),
            Given::NamedNetwork => {
                !config.services.is_empty() && matches!(config.network, Some(ChosenNetwork::Existing(_)))
            }
            Given::InternalInNamedNetwork => {
                config.has_internal() && matches!(config.network, Some(ChosenNetwork::Existing(_)))
            }
            Given::FoundNetwork => {
                !config.services.is_empty() && !matches!(config.network, Some(ChosenNetwork::Existing(_)))
            }
            Given::OwnNetwork => !config.services.is_empty() && matches!(config.network, Some(ChosenNetwork::Own(_))),
            Given::Functions => !config.functions.is_empty(),
            Given::Buckets => !config.buckets.is_empty(),
            Given::Tables => !config.tables.is_empty(),
            Given::Domain => config.services.values().any(|service| service.domain.is_some()),
            Given::Requested => {
                config.services.values().any(|service| service.domain.is_some() && service.certificate.is_none())
            }
            Given::Behind => config.services.values().any(|service| service.behind.is_some()),
            Given::Secrets => config.holds(Store::Secret),
            Given::Parameters => config.holds(Store::Parameter),
            Given::Direct => config.services.values().any(|service| service.is_direct),
            Given::KeyOfFunction => config.functions.values().any(|function| function.key.is_some()),
            Given::KeyOfTable => config.tables.values().any(|table| table.key.is_some()),
            Given::WebAcl => config.web_acls().next().is_some(),
            Given::Image => config.services.values().any(|service| service.image.is_some()),
        }
    }
}

/// The row of a command.
pub fn of_command(name: &str) -> Option<&'static Needs> {
    COMMANDS.iter().find(|needs| needs.command == name)
}
