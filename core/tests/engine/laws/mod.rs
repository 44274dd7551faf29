//! Laws over random histories.

mod exchange;
mod first;
mod garbage;
mod lives;

use tandem_core::ids::ActorId;
use tandem_core::label::Label;
use tandem_core::message::{FolderId, Hello, Message, PROTOCOL, Role};
use tandem_core::version::VersionVector;

use crate::stage::TICKET;

/// Returns the hello of a peer that the test plays itself.
fn hello(role: Role, session: u64, knowledge: VersionVector) -> Message {
    Message::Hello(Hello {
        protocol: PROTOCOL,
        folder: Some(FolderId([9; 16])),
        role,
        name: Label::parse("author").unwrap(),
        secret: Some(TICKET),
        session,
        actor: ActorId(session),
        epoch: 1,
        knowledge,
        cursor: None,
        takes_changes: true,
        pushes: false,
    })
}
