//! The trait that every kind implements, and what reading the cloud can find.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    time::Duration,
};

use serde::Serialize;

use super::Fault;

/// Tags of one resource. Sorted, because order must not be a difference.
pub type Tags = BTreeMap<String, String>;

/// Names by which the cloud finds resources of one kind.
pub type Names = BTreeSet<String>;

/// Names the stack that owns a resource.
pub const STACK_TAG: &str = "deployer:stack";
/// Names the resource within its stack: `KIND.KEY`.
pub const RESOURCE_TAG: &str = "deployer:resource";

/// When resources of a kind are removed.
pub trait Removal {
    /// The turn of the kind: it comes before the kinds that it may use.
    const RANK: u8 = 0;
}

/// One kind of thing that can exist in a cloud, known by a name chosen before it exists.
///
/// *Guarantees wanted of a kind:* `read` changes nothing; `create`, `update` and `delete` may be cut off anywhere
/// and called again; `delete` of what is gone succeeds. *Assumes:* the engine has checked the owner before
/// `update`, `tag` and `delete`, and calls no two of them at once for one resource.
pub trait Resource: Removal + Sized + Send + Sync + 'static {
    /// The kind's name in plans, addresses and tags, such as `launch_template`.
    const KIND: &'static str;
    /// Settings that can only be chosen at creation: changing one would replace the resource.
    const FIXED: &'static [&'static str] = &[];
    /// Settings whose values are secret: they are compared, and shown only with `--show-values`.
    const SECRET: &'static [&'static str] = &[];
    /// Settings that a field of `stack.yaml` decides, each with that field below the resource's section.
    const SOURCES: &'static [(&'static str, &'static str)] = &[];
    /// Whether an update gives another output, as a new version number is.
    const UPDATE_MOVES_OUTPUT: bool = false;
    /// Whether it holds what cannot be made again. Such a thing goes with the whole stack, or when it is named.
    const HOLDS_DATA: bool = false;
    /// How long it may take to settle or to vanish, at the most.
    const LIMIT: Duration = Duration::from_secs(10 * 60);

    /// What the calls need: the clients.
    type Cloud: Send + Sync + 'static;
    /// What we choose. Wanted and live settings have this same type, so that their difference is
    /// computed and never written by hand.
    type Settings: Serialize + std::fmt::Debug + Send + Sync + 'static;
    /// What the cloud assigns and other resources may use: ids, ARNs, host names.
    type Output: Clone + std::fmt::Debug + Send + Sync + 'static;

    /// The name by which the cloud finds it.
    fn name(&self) -> &str;

    /// Looks whether it is there. Not found is an answer, not an error.
    fn read(&self, cloud: &Self::Cloud) -> impl Future<Output = Result<Observed<Self>, Fault>> + Send;

    /// Makes it exist, tagged. Returns it when the answers prove that it is there, finished and as wanted;
    /// `None` has the engine read it.
    fn create(
        &self,
        cloud: &Self::Cloud,
        want: &Self::Settings,
        tags: &Tags,
    ) -> impl Future<Output = Result<Option<Live<Self>>, Fault>> + Send;

    /// Makes it right. May do a part: the engine reads again and calls again while a difference is left.
    fn update(
        &self,
        cloud: &Self::Cloud,
        want: &Self::Settings,
        live: &Live<Self>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Adds or overwrites these tags and leaves all others. Kinds without tags of their own keep this default.
    fn tag(
        &self,
        _cloud: &Self::Cloud,
        _live: &Live<Self>,
        _tags: &Tags,
    ) -> impl Future<Output = Result<(), Fault>> + Send {
        async { Ok(()) }
    }

    /// Begins to remove it. The engine reads until it is absent.
    fn delete(&self, cloud: &Self::Cloud, live: &Live<Self>) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Whether nothing of ours is left of it, although what it lives in is there: then it is as good as absent
    /// when it is to go. A bucket without any notification of ours is such a one.
    fn is_bare(_live: &Self::Settings) -> bool {
        false
    }

    /// Whether it is protected against deletion.
    fn is_protected(_live: &Self::Settings) -> bool {
        false
    }

    /// Everything of this kind that carries this stack's tag, except what has one of the names in `but`: that is
    /// wanted, read on its own, and need not be asked for its tags here. Kinds that live inside another resource,
    /// and vanish with it, keep this default.
    fn owned(
        _cloud: &Self::Cloud,
        _stack: &str,
        _but: &Names,
    ) -> impl Future<Output = Result<Vec<Self>, Fault>> + Send {
        async { Ok(Vec::new()) }
    }

    /// What deleting it would lose, in words for people, such as "12 objects, 3.4 MB".
    fn loss(&self, _cloud: &Self::Cloud) -> impl Future<Output = Result<Option<String>, Fault>> + Send {
        async { Ok(None) }
    }
}

/// What a look at the cloud found.
#[derive(Debug)]
pub enum Observed<R: Resource> {
    /// It is not there.
    Absent,
    /// On its way somewhere, and not to be touched until it gets there; says to where.
    Settling(String),
    /// It is there.
    Present(Live<R>),
}

/// A resource as the cloud has it.
#[derive(Debug)]
pub struct Live<R: Resource> {
    /// What was chosen for it.
    pub settings: R::Settings,
    /// What the cloud assigned to it.
    pub output: R::Output,
    /// Whose it is.
    pub owner: Owner,
}

/// How the owner of a resource is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// By the resource's own tags.
    Tags(Tags),
    /// It has no tags and lives inside a resource whose owner has been checked.
    Parent,
}

impl Owner {
    /// Whether it carries no ownership tags.
    pub fn is_nobody(&self) -> bool {
        matches!(self, Owner::Tags(tags) if !tags.contains_key(STACK_TAG))
    }

    /// The stack that the tags name, if the resource is not that of `stack`.
    pub fn foreign_to(&self, stack: &str) -> Option<String> {
        let Owner::Tags(tags) = self else { return None };
        match tags.get(STACK_TAG) {
            Some(owner) if owner == stack => None,
            Some(owner) => Some(format!("stack {owner:?}")),
            None => Some("somebody else (it carries no deployer tags)".into()),
        }
    }
}
