//! What brings a node of the shared folder to where the tree wants it: the next step, as a
//! function of what the tree wants and of what stands.
//!
//! Law: it is total, and looks at one node. Parents go before what stands in them on the way in,
//! and after on the way out. A node goes to a place only when the place is free, or holds what is
//! gone from the tree; whatever else stands there leaves by itself if it can, and is taken out of
//! the way (parked) if not. Each step brings a node nearer to its end and none takes one that is
//! there away, so that the steps come to an end.

use alloc::vec::Vec;

use crate::folder::Spot;
use crate::ids::NodeId;

/// What there is to know of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Situation {
    /// Whether it is a directory.
    pub is_directory: bool,
    /// The places that the tree has for it; none of what is gone.
    pub wanted: Vec<Place>,
    /// The names under which it stands.
    pub standing: Vec<Spot>,
    /// Whether it lies out of the way.
    pub is_parked: bool,
    /// Whether anything stands in it.
    pub holds_any: bool,
    /// Its content.
    pub content: Content,
    /// Whether nobody can be asked for the content that the tree wants.
    pub is_stuck: bool,
    /// Who is to take over the file that stands for it: the conflict copy that shows it.
    pub heir: Option<NodeId>,
    /// Whose file it is to take over, being a conflict copy of it.
    pub estate: Option<Estate>,
    /// Whether it looks as it is to look.
    pub is_dressed: bool,
}

/// The file that stands for another node and is a conflict copy's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Estate {
    /// The other node.
    pub from: NodeId,
    /// One of its names.
    pub spot: Spot,
    /// Whether that is its only one: one file does not stand for two nodes.
    pub is_only: bool,
    /// Whether what takes its place there is all here, or nobody can be asked for it: the name is
    /// not to be without a file for long.
    pub is_free: bool,
}

/// How the content that stands for a node compares with what the tree wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// It is that.
    Current,
    /// It is not, and what the tree wants is not all here.
    Absent,
    /// It is not, and what the tree wants is all here.
    Here,
}

/// A place that the tree has for a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where.
    pub spot: Spot,
    /// Its directory.
    pub parent: Parent,
    /// What stands there.
    pub there: There,
}

/// The directory of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    /// Stands.
    Stands,
    /// Is to be made first, or moved first, being below the node itself.
    After(NodeId),
}

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum There {
    /// Nothing.
    Free,
    /// The node itself.
    Own,
    /// A directory that is one with the node, by the tree.
    Merged(NodeId),
    /// A file or symlink that is gone from the tree: it may be put over.
    Gone(NodeId),
    /// Something that is about to leave by itself.
    Leaving(NodeId),
    /// Something that can't leave yet.
    InTheWay(NodeId),
}

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// There is none.
    Rest,
    /// Another node has to go first.
    Await(NodeId),
    /// The content that the tree wants is to be fetched.
    Fetch,
    /// The content that is here goes to a name, over what stands there, if anything does.
    Put(Spot, Option<NodeId>),
    /// A directory is made.
    MakeDirectory(Spot),
    /// It stands already, as another node that is one with it.
    Adopt(NodeId, Spot),
    /// The file of a node whose conflict copy this is moves here.
    Inherit {
        /// Of which node.
        from: NodeId,
        /// Which of its names.
        spot: Spot,
        /// To where.
        to: Spot,
    },
    /// The file of a node whose conflict copy this is has the name that this is to have.
    Succeed {
        /// Which node.
        from: NodeId,
        /// That name.
        spot: Spot,
    },
    /// It moves: from a name, or from out of the way.
    Move(Option<Spot>, Spot),
    /// It gets a further name, beside the first.
    Link(Spot, Spot),
    /// A name, or what lies out of the way, goes to the trash.
    Trash(Option<Spot>),
    /// A directory is removed: a name, or what lies out of the way.
    RemoveDirectory(Option<Spot>),
    /// Another node is taken out of the way.
    Park(NodeId),
    /// Its attributes are set.
    Dress,
}

/// Returns the next step of a node.
pub(crate) fn reconcile(at: &Situation) -> Step {
    match (at.wanted.is_empty(), at.is_directory) {
        (true, true) => leave_directory(at),
        (true, false) => leave_file(at),
        (false, true) => place_directory(at),
        (false, false) => place_file(at),
    }
}

fn leave_directory(at: &Situation) -> Step {
    match (at.standing.first(), at.is_parked, at.holds_any) {
        (None, false, _) | (_, _, true) => Step::Rest,
        (Some(spot), _, false) => Step::RemoveDirectory(Some(spot.clone())),
        (None, true, false) => Step::RemoveDirectory(None),
    }
}

fn leave_file(at: &Situation) -> Step {
    if let (Some(_), Some(spare)) = (at.heir, at.spare()) {
        return Step::Trash(spare);
    }
    match (at.standing.first(), at.is_parked, at.heir) {
        (None, false, _) => Step::Rest,
        (Some(_), _, Some(heir)) => Step::Await(heir),
        (Some(spot), _, None) => Step::Trash(Some(spot.clone())),
        (None, true, _) => Step::Trash(None),
    }
}

fn place_directory(at: &Situation) -> Step {
    let Some(place) = at.wanted.first() else {
        return Step::Rest;
    };
    let stands = at.is_parked || !at.standing.is_empty();
    match (place.parent, place.there) {
        (_, There::Own) if at.is_dressed => Step::Rest,
        (_, There::Own) => Step::Dress,
        (Parent::After(other), _) => Step::Await(other),
        (Parent::Stands, There::Merged(other)) if !stands => Step::Adopt(other, place.spot.clone()),
        (Parent::Stands, There::Merged(other) | There::Gone(other) | There::Leaving(other)) => {
            Step::Await(other)
        }
        (Parent::Stands, There::InTheWay(other)) => Step::Park(other),
        (Parent::Stands, There::Free) if stands => {
            Step::Move(at.standing.first().cloned(), place.spot.clone())
        }
        (Parent::Stands, There::Free) => Step::MakeDirectory(place.spot.clone()),
    }
}

fn place_file(at: &Situation) -> Step {
    if at.standing.is_empty() && !at.is_parked {
        return appear(at);
    }
    let is_wanted = |spot: &&Spot| at.wanted.iter().any(|place| place.spot == **spot);
    let extra = at.standing.iter().find(|spot| !is_wanted(spot));
    if let ([first], Some(_), false, false) = (&at.standing[..], extra, at.is_parked, at.is_stuck) {
        // What was written before a file was renamed is there before its new name is: a name is
        // never seen with a content that it had nowhere (S12, S13).
        match (at.content, at.heir) {
            (Content::Current, _) => {}
            (Content::Absent, _) => return Step::Fetch,
            (Content::Here, Some(heir)) => return Step::Await(heir),
            (Content::Here, None) => return Step::Put(first.clone(), None),
        }
    }
    let missing = || at.wanted.iter().filter(|place| place.there != There::Own);
    let free = missing().find(|place| place.is_free());
    if let Some(place) = free
        && (extra.is_some() || at.is_parked)
    {
        return Step::Move(extra.cloned(), place.spot.clone());
    }
    let blocked = || missing().next().map_or(Step::Rest, Place::clear);
    if let Some(extra) = extra
        && at.standing.len() > 1
    {
        return Step::Trash(Some(extra.clone()));
    }
    if at.is_parked && !at.standing.is_empty() && missing().next().is_none() {
        // It lies out of the way under a name that it is not to have any more.
        return Step::Trash(None);
    }
    let is_taken = at.heir.is_some() && at.content == Content::Current;
    if let (true, Some(spare)) = (is_taken || at.content == Content::Here, at.spare()) {
        // A file is replaced, or taken over by its conflict copy, under one name; the others are
        // given anew.
        return Step::Trash(spare);
    }
    match (at.content, at.heir, &at.standing[..]) {
        (Content::Current, _, _) => {}
        (Content::Absent, _, _) => return Step::Fetch,
        (Content::Here, Some(heir), _) => return Step::Await(heir),
        (Content::Here, None, [first]) if extra.is_none() => {
            return Step::Put(first.clone(), None);
        }
        (Content::Here, None, _) => return blocked(),
    }
    if let (Some(place), Some(first)) = (free, at.standing.first()) {
        return Step::Link(first.clone(), place.spot.clone());
    }
    let step = blocked();
    if step == Step::Rest && !at.is_dressed {
        return Step::Dress;
    }
    step
}

/// The step of a file that stands nowhere.
fn appear(at: &Situation) -> Step {
    let free = at.wanted.iter().find(|place| place.is_free());
    if let Some(estate) = &at.estate {
        let mut spots = at.wanted.iter().map(|place| &place.spot);
        if estate.is_only && spots.any(|spot| *spot == estate.spot) {
            return Step::Succeed {
                from: estate.from,
                spot: estate.spot.clone(),
            };
        }
        return match free {
            Some(_) if !(estate.is_free && estate.is_only) => Step::Await(estate.from),
            Some(place) => Step::Inherit {
                from: estate.from,
                spot: estate.spot.clone(),
                to: place.spot.clone(),
            },
            None => at.wanted.first().map_or(Step::Rest, Place::clear),
        };
    }
    if at.content == Content::Absent {
        return Step::Fetch;
    }
    let open = at.wanted.iter().find_map(|place| match place.there {
        There::Free if place.is_free() => Some((place, None)),
        There::Gone(gone) if place.parent == Parent::Stands => Some((place, Some(gone))),
        There::Free
        | There::Own
        | There::Merged(_)
        | There::Gone(_)
        | There::Leaving(_)
        | There::InTheWay(_) => None,
    });
    match open {
        Some((place, over)) => Step::Put(place.spot.clone(), over),
        None => at.wanted.first().map_or(Step::Rest, Place::clear),
    }
}

impl Situation {
    /// Returns a name of its file beside the first, which may be the one out of the way.
    pub(crate) fn spare(&self) -> Option<Option<Spot>> {
        match &self.standing[..] {
            [] => None,
            [_, ..] if self.is_parked => Some(None),
            [_] => None,
            [.., last] => Some(Some(last.clone())),
        }
    }
}

impl Place {
    fn is_free(&self) -> bool {
        self.parent == Parent::Stands && self.there == There::Free
    }

    /// Returns the step that makes it free.
    fn clear(&self) -> Step {
        match (self.parent, self.there) {
            (_, There::Own) => Step::Rest,
            (Parent::After(other), _) => Step::Await(other),
            (Parent::Stands, There::Merged(other) | There::Gone(other) | There::Leaving(other)) => {
                Step::Await(other)
            }
            (Parent::Stands, There::InTheWay(other)) => Step::Park(other),
            (Parent::Stands, There::Free) => Step::Rest,
        }
    }
}
