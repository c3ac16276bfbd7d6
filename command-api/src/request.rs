//! How a command arrives over HTTP. A new command has one such description, in a file of its own in
//! [`crate::requests`].

use std::marker::PhantomData;

use cqrs_es::Aggregate;
use domain::Command;
use event_store::aggregates::Presence;
use events::Scope;
use platform::http::{Fields, Problem, StrictBody};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use crate::code::CommandCode;
use crate::email_keys::EmailKeys;
use crate::service::Hosted;

/// The description of a command's request: its route, its body, and how it becomes the command.
pub(crate) trait Request: StrictBody + ToSchema + 'static {
    /// The aggregate that the command changes.
    type Aggregate: Hosted;
    /// The command.
    type Command: Command<State = Self::Aggregate, Event = <Self::Aggregate as Aggregate>::Event>
        + Send
        + Sync
        + 'static;

    /// Method and pattern, such as `PATCH /v1/users/{id}`; also the scope of an idempotency key.
    const ROUTE: &'static str;
    /// Where the changed resource lies.
    const COLLECTION: &'static str;
    /// What the command does, for `/docs`.
    const SUMMARY: &'static str;
    /// What its body is.
    const BODY: BodyForm;
    /// The status of success.
    const SUCCESS: u16 = 200;
    /// What the command can be refused with, beside what every command can.
    const REFUSALS: &'static [CommandCode];

    /// The command, and whom it is for.
    fn address(self, arrival: &Arrival<'_>) -> Result<Addressed<Self::Command>, Problem>;
}

/// The form of a request's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyForm {
    /// No body, or an empty object.
    Empty,
    /// An object.
    Json,
    /// A merge patch (RFC 7396).
    MergePatch,
}

/// What a request brings beside its body.
pub(crate) struct Arrival<'a> {
    pub(crate) scope: &'a Scope,
    /// The id of the path, when the route has one.
    pub(crate) path_id: Option<Uuid>,
    pub(crate) email_keys: &'a EmailKeys,
}

impl Arrival<'_> {
    /// A command for the one whose id is in the path.
    pub(crate) fn for_path_id<C>(&self, command: C) -> Addressed<C> {
        let id = self.path_id.expect("the route's pattern has an id");
        Addressed {
            id,
            presence: Presence::Unknown,
            command,
        }
    }
}

/// A command, and the id of the aggregate that it is for.
pub(crate) struct Addressed<C> {
    pub(crate) id: Uuid,
    /// Whether something of that id is there already, as far as the request tells.
    pub(crate) presence: Presence,
    pub(crate) command: C,
}

/// The body of a command that says everything in its path.
pub(crate) struct Empty<C> {
    command: PhantomData<fn() -> C>,
}

impl<C> PartialSchema for Empty<C> {
    fn schema() -> RefOr<Schema> {
        RefOr::default()
    }
}

impl<C> ToSchema for Empty<C> {}

impl<C> StrictBody for Empty<C> {
    fn take(_: &mut Fields) -> Option<Self> {
        Some(Self {
            command: PhantomData,
        })
    }
}
