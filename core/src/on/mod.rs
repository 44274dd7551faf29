//! One family of events each. Only these know every room of the engine.

pub(crate) mod changes;
pub(crate) mod commit;
pub(crate) mod disk;
pub(crate) mod draft;
pub(crate) mod draft_base;
pub(crate) mod draft_disk;
pub(crate) mod draft_end;
pub(crate) mod draft_load;
pub(crate) mod draft_serve;
pub(crate) mod edit;
pub(crate) mod fetch;
pub(crate) mod fs;
pub(crate) mod hush;
pub(crate) mod link;
pub(crate) mod names;
pub(crate) mod object;
pub(crate) mod picture;
pub(crate) mod registers;
pub(crate) mod scan;
pub(crate) mod seen;
pub(crate) mod serve;
pub(crate) mod start;
pub(crate) mod stop;
pub(crate) mod tell;
pub(crate) mod timer;
pub(crate) mod want;
