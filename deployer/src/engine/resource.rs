//! The trait that every kind implements, and the result of reading the cloud.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    time::Duration,
};

use serde::Serialize;

use super::{Fault, Size};

/// Tags of one resource. Sorted, so that their order is never a difference.
pub type Tags = BTreeMap<String, String>;

/// Identities of resources of one kind in the cloud.
pub type Names = BTreeSet<String>;

/// The tag with the stack that owns a resource.
pub const STACK_TAG: &str = "deployer:stack";
/// The tag with the resource's address within its stack: `KIND.KEY`.
pub const RESOURCE_TAG: &str = "deployer:resource";

/// A resource that carries the tag of a stack.
#[derive(Debug, Clone)]
pub struct Tagged {
    /// The name that identifies it in the cloud.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// The time of its creation, in seconds since 1970, if the cloud returns it.
    pub created_s: Option<i64>,
    /// Its size, or why that could not be read.
    pub size: Result<Size, Fault>,
}

impl Tagged {
    /// A resource whose size is not counted.
    pub fn new(name: String, tags: Tags, created_s: Option<i64>) -> Tagged {
        Tagged { name, tags, created_s, size: Ok(Size::None) }
    }

    /// The same with a size.
    #[must_use]
    pub fn sized(self, size: Result<Size, Fault>) -> Tagged {
        Tagged { size, ..self }
    }
}

/// A list of tagged resources. A fault represents a resource whose tags could not be read.
pub type AllTagged = Vec<Result<Tagged, Fault>>;

/// The order of removal.
pub trait RemovalOrder {
    /// The rank of the kind: lower than that of the kinds that it may use.
    const RANK: u8 = 0;
}

/// One kind of resource in a cloud, with names known before the resources exist.
///
/// *Guarantees required of a kind:* `read` changes nothing; `create`, `update` and `delete` may be interrupted anywhere
/// and called again; `delete` of an absent resource succeeds. *Assumes:* the engine has checked the owner before
/// `update`, `tag` and `delete`, and never calls two of them at once for one resource.
pub trait Resource: RemovalOrder + Sized + Send + Sync + 'static {
    /// The kind's name in plans, addresses and tags, such as `launch_template`.
    const KIND: &'static str;
    /// Settings that can only be chosen at creation: changing one would replace the resource.
    const FIXED: &'static [&'static str] = &[];
    /// Settings whose values are secret: they are compared, and shown only with `--show-values`.
    const SECRET: &'static [&'static str] = &[];
    /// Settings that a field of `stack.yaml` decides, each with the path of that field below the resource's section.
    const SOURCES: &'static [(&'static str, &'static str)] = &[];
    /// Whether an update changes the output, such as a version number.
    const UPDATE_MOVES_OUTPUT: bool = false;
    /// Whether it holds data that cannot be recreated. It is removed only with the whole stack, or when it is named.
    const HOLDS_DATA: bool = false;
    /// The longest time it may take to settle or to vanish.
    const LIMIT: Duration = Duration::from_secs(10 * 60);

    /// The clients that its calls use.
    type Cloud: Send + Sync + 'static;
    /// The settings that we manage. Wanted and live settings share this type, so that their difference is computed
    /// generically.
    type Settings: Serialize + std::fmt::Debug + Send + Sync + 'static;
    /// Values that the cloud assigns and other resources may use: ids, ARNs, host names.
    type Output: Clone + std::fmt::Debug + Send + Sync + 'static;

    /// The name that identifies it in the cloud.
    fn name(&self) -> &str;

    /// The name, qualified by its place if the same name may exist in several places at once.
    fn identity(&self) -> String {
        self.name().to_owned()
    }

    /// Whether a value of a setting below [`SECRET`](Resource::SECRET) may be shown, such as a variable that is in
    /// `stack.yaml` for all to see.
    fn is_open(&self, _path: &str, _value: &str) -> bool {
        false
    }

    /// Reads it. Absence is a result, not an error.
    fn read(&self, cloud: &Self::Cloud) -> impl Future<Output = Result<Observed<Self>, Fault>> + Send;

    /// Creates it with its tags. Returns it if the answers prove that it is present, settled and as wanted; after
    /// `None` the engine reads it.
    fn create(
        &self,
        cloud: &Self::Cloud,
        want: &Self::Settings,
        tags: &Tags,
    ) -> impl Future<Output = Result<Option<Live<Self>>, Fault>> + Send;

    /// Updates it. May do a part of the work: the engine reads and calls again while a difference is left.
    fn update(
        &self,
        cloud: &Self::Cloud,
        want: &Self::Settings,
        live: &Live<Self>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Adds or overwrites these tags and keeps all others. Kinds without tags of their own keep this default.
    fn tag(
        &self,
        _cloud: &Self::Cloud,
        _live: &Live<Self>,
        _tags: &Tags,
    ) -> impl Future<Output = Result<(), Fault>> + Send {
        async { Ok(()) }
    }

    /// Starts its removal. The engine reads until it is absent.
    fn delete(&self, cloud: &Self::Cloud, live: &Live<Self>) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Whether nothing of ours is left of it although its parent is present: then it counts as absent when it is to be
    /// removed. An example is a bucket without any notification of ours.
    fn is_bare(_live: &Self::Settings) -> bool {
        false
    }

    /// Whether it is protected against deletion.
    fn is_protected(_live: &Self::Settings) -> bool {
        false
    }

    /// Lists everything of this kind that carries this stack's tag, except identities in `but`: those are wanted and
    /// read separately, so their tags need not be read here. Kinds that live inside another resource, and vanish with it,
    /// keep this default.
    fn owned(
        _cloud: &Self::Cloud,
        _stack: &str,
        _but: &Names,
    ) -> impl Future<Output = Result<Vec<Self>, Fault>> + Send {
        async { Ok(Vec::new()) }
    }

    /// Lists everything of this kind that carries tags, whichever stack they name; the caller looks for the tag of a
    /// stack. Kinds that live inside another resource keep this default.
    fn tagged(_cloud: &Self::Cloud) -> impl Future<Output = Result<AllTagged, Fault>> + Send {
        async { Ok(Vec::new()) }
    }

    /// Returns a description of the data that its deletion would lose, such as "12 objects, 3.4 MB".
    fn loss(&self, _cloud: &Self::Cloud) -> impl Future<Output = Result<Option<String>, Fault>> + Send {
        async { Ok(None) }
    }
}

/// The result of a read.
#[derive(Debug)]
pub enum Observed<R: Resource> {
    /// It does not exist.
    Absent,
    /// In transition, described by this text, and not to be changed until it has settled.
    Settling(String),
    /// It exists.
    Present(Live<R>),
}

/// A resource as it is in the cloud.
#[derive(Debug)]
pub struct Live<R: Resource> {
    /// Its settings.
    pub settings: R::Settings,
    /// The values that the cloud assigned.
    pub output: R::Output,
    /// Its owner.
    pub owner: Owner,
}

/// The way in which the owner of a resource is determined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// By its own tags.
    Tags(Tags),
    /// By its parent, whose owner has been checked: it has no tags of its own.
    Parent,
    /// It cannot carry tags, and its values show that it is not ours. Holds a description of the owner. It cannot be
    /// adopted.
    Other(String),
}

impl Owner {
    /// Whether it carries no ownership tags.
    pub fn is_unowned(&self) -> bool {
        matches!(self, Owner::Tags(tags) if !tags.contains_key(STACK_TAG))
    }

    /// The owner that the tags name, if the resource does not belong to `stack`.
    pub fn foreign_to(&self, stack: &str) -> Option<String> {
        let tags = match self {
            Owner::Tags(tags) => tags,
            Owner::Parent => return None,
            Owner::Other(owner) => return Some(owner.clone()),
        };
        match tags.get(STACK_TAG) {
            Some(owner) if owner == stack => None,
            Some(owner) => Some(format!("stack {owner:?}")),
            None => Some("an unknown owner (it carries no deployer tags)".into()),
        }
    }
}
